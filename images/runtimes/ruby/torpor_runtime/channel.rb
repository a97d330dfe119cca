# frozen_string_literal: true

require "json"
require "socket"

module TorporRuntime
  # How events are taken and answered: on one connection to the agent, with one write each way for an event. What is said on it is in
  # images/agent/functions/runtime-channel.ts.
  class Channel
    GREETING = "CONNECT torpor.runtime:1 HTTP/1.1\r\nHost: torpor.runtime:1\r\n\r\n"
    HEAD = "aN"
    HEAD_BYTES = 5
    MAX_KIND_BYTES = 255

    def initialize(host, port)
      @socket = TCPSocket.new(host, port)
      @socket.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1)
      @socket.binmode
      @asked = false
      @socket.write(GREETING)
      loop { break if hear_line == "\r\n" }
    end

    # What is known of the next event, and its bytes; asked for, unless the answer to the last has done so.
    def next
      say("N") unless @asked
      @asked = false
      frame = hear
      start = 4 + frame.unpack1("N")
      [parse(frame.byteslice(4, start - 4)), frame.byteslice(start..)]
    end

    # Returns when the environment has been restored from its snapshot, with the variables that are others now.
    def restored
      say("S")
      parse(hear)
    end

    def respond(body)
      answer("R", body)
    end

    # `is_last`: this process ends itself.
    def fail(kind, body, is_last:)
      name = kind.b.byteslice(0, MAX_KIND_BYTES)
      answer(is_last ? "X" : "E", [name.bytesize].pack("C") + name + body.b)
    end

    private

    def answer(kind, content)
      say(kind, content)
      @asked = true
    end

    def say(kind, content = "")
      @socket.write([kind, content.bytesize].pack(HEAD) + content.b)
    end

    def hear
      _, length = hear_bytes(HEAD_BYTES).unpack(HEAD)
      hear_bytes(length)
    end

    def hear_bytes(length)
      bytes = @socket.read(length)
      raise IOError, "The next event was refused" if bytes.nil? || bytes.bytesize < length

      bytes
    end

    def hear_line
      @socket.gets || raise(IOError, "The next event was refused")
    end

    def parse(bytes)
      JSON.parse(bytes.force_encoding(Encoding::UTF_8))
    end
  end
end
