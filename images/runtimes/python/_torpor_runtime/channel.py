"""How events are taken and answered: on one connection to the agent, with one write each way for an event. What is said on it is in
images/agent/functions/runtime-channel.ts."""

import json
import socket
import struct

_GREETING = b"CONNECT torpor.runtime:1 HTTP/1.1\r\nHost: torpor.runtime:1\r\n\r\n"
_HEAD = struct.Struct(">cI")
_LENGTH = struct.Struct(">I")
_PIECE = 65536


class Channel:
    def __init__(self, host, port):
        self._socket = socket.create_connection((host, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._asked = False
        self._held = b""
        self._socket.sendall(_GREETING)
        while b"\r\n\r\n" not in self._held:
            self._hear()
        self._held = self._held.partition(b"\r\n\r\n")[2]

    def next(self):
        """What is known of the next event, and its bytes; asked for, unless the answer to the last has done so."""
        if not self._asked:
            self._send(b"N", b"")
        self._asked = False
        frame = self._hear_next()
        start = _LENGTH.size + _LENGTH.unpack_from(frame)[0]
        return json.loads(frame[_LENGTH.size : start]), frame[start:]

    def restored(self):
        """Returns when the environment has been restored from its snapshot, with the variables that are others now."""
        self._send(b"S", b"")
        return json.loads(self._hear_next())

    def respond(self, body):
        self._answer(b"R", body)

    def fail(self, kind, body):
        name = kind.encode("utf-8")[:255]
        self._answer(b"E", bytes((len(name),)) + name + body)

    def _answer(self, kind, content):
        self._send(kind, content)
        self._asked = True

    def _send(self, kind, content):
        self._socket.sendall(_HEAD.pack(kind, len(content)) + content)

    def _hear_next(self):
        self._need(_HEAD.size)
        _, length = _HEAD.unpack_from(self._held)
        end = _HEAD.size + length
        self._need(end)
        frame, self._held = self._held[_HEAD.size : end], self._held[end:]
        return frame

    def _need(self, size):
        if len(self._held) >= size:
            return
        pieces, held = [self._held], len(self._held)
        while held < size:
            piece = self._receive()
            pieces.append(piece)
            held += len(piece)
        self._held = b"".join(pieces)

    def _hear(self):
        self._held += self._receive()

    def _receive(self):
        piece = self._socket.recv(_PIECE)
        if not piece:
            raise ConnectionError("The next event was refused")
        return piece
