# frozen_string_literal: true

require_relative "channel"

module TorporRuntime
  # What the runtime asks of the agent and tells it: events by a channel, all else by the Runtime API.
  class Client
    def initialize(address)
      @host, port = address.split(":")
      @port = Integer(port, 10)
    end

    # The next event: what is known of it, and its bytes.
    def next
      channel.next
    end

    # Answers the event in progress.
    def respond(body)
      channel.respond(body)
    end

    # The event in progress; `is_last` where this process ends itself.
    def fail(failure, is_last:)
      channel.fail(header(failure.kind), failure.to_json, is_last: is_last)
    end

    # `phase` is `init` or `restore`.
    def fail_phase(phase, failure)
      require "net/http"
      headers = { "Content-Type" => "application/json", "Lambda-Runtime-Function-Error-Type" => header(failure.kind) }
      Net::HTTP.start(@host, @port, nil) do |http|
        http.post("/2018-06-01/runtime/#{phase}/error", failure.to_json, headers)
      end
    end

    # Returns when the environment has been restored from its snapshot, with the variables that are others now.
    def restored
      channel.restored
    end

    private

    def channel
      @channel ||= Channel.new(@host, @port)
    end

    def header(text)
      text.scrub("?").gsub(/[^ -~]/, "?")
    end
  end
end
