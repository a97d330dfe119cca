"""What the runtime asks of the agent and tells it: events by a channel, all else by the Runtime API."""

import http.client

from .channel import Channel


class Client:
    # A channel that was opened before there was a function, by its address.
    _ahead = (None, None)

    def __init__(self, address):
        self._connection = http.client.HTTPConnection(address)
        ahead, channel = Client._ahead
        self._channel = channel if ahead == address else None

    @classmethod
    def connect_ahead(cls, address):
        """Of who waits for a function: its first client goes on by that."""
        connection = http.client.HTTPConnection(address)
        try:
            cls._ahead = (address, Channel(connection.host, connection.port))
        except OSError:
            cls._ahead = (None, None)

    def _ask(self, method, path, body=None, headers=None):
        self._connection.request(method, "/2018-06-01/runtime/" + path, body=body, headers=headers or {})
        answer = self._connection.getresponse()
        return answer, answer.read()

    def next(self):
        """The next event: what is known of it, and its bytes."""
        return self._open().next()

    def respond(self, body):
        """Answers the event in progress."""
        self._channel.respond(body.encode("utf-8"))

    def fail(self, failure):
        """The event in progress."""
        self._channel.fail(header(failure.kind), failure.to_json().encode("utf-8"))

    def fail_phase(self, phase, failure):
        """`phase` is `init` or `restore`."""
        headers = {"Content-Type": "application/json", "Lambda-Runtime-Function-Error-Type": header(failure.kind)}
        self._ask("POST", phase + "/error", failure.to_json().encode("utf-8"), headers)

    def restored(self):
        """Returns when the environment has been restored from its snapshot, with the variables that are others now."""
        return self._open().restored()

    def _open(self):
        if self._channel is None:
            self._channel = Channel(self._connection.host, self._connection.port)
        return self._channel


def header(text):
    return "".join(char if " " <= char <= "~" else "?" for char in text)
