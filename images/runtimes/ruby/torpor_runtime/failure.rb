# frozen_string_literal: true

require "json"

module TorporRuntime
  # An error as callers of AWS read it, and as the log has it: `kind` says where it came from, and its class.
  class Failure
    MAX_FRAMES = 100

    attr_reader :kind

    # Of what the function's code raised, while its handler was loaded (`Init`) or ran (`Function`).
    def initialize(error, phase)
      @kind = "#{phase}<#{error.class}>"
      @message = text_of(error)
      @trace = trace_of(error)
    end

    def to_h
      { errorMessage: @message, errorType: @kind, stackTrace: @trace }
    end

    def to_json(*_options)
      JSON.generate(to_h)
    end

    # `what` failed; one event of the log, in lines.
    def say(what)
      puts what, JSON.pretty_generate(to_h).tr("\n", "\r")
    end

    private

    def text_of(error)
      valid(error.message)
    rescue StandardError => e
      "The error's message could not be had: #{e.class}"
    end

    # The frames of the runtime, and what lies behind them, are not the function's.
    def trace_of(error)
      frames = error.backtrace_locations || []
      own = frames.take_while { |frame| !frame.path.start_with?(__dir__) }
      own.first(MAX_FRAMES).map { |frame| valid(frame.to_s) }
    end

    # What JSON can have.
    def valid(text)
      String(text).encode(Encoding::UTF_8, invalid: :replace, undef: :replace).scrub
    end
  end
end
