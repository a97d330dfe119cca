# frozen_string_literal: true

require "logger"

module TorporRuntime
  # What is written by `puts`, and by Ruby's own loggers, whose lines have the request that they belong to.
  module Log
    class << self
      attr_accessor :request_id

      def set_up
        $stdout.sync = true
        $stderr.sync = true
        Logger.prepend(Loggers)
      end
    end

    # Loggers that write to the log, and have no formatter of the function's.
    module Loggers
      def initialize(device = nil, *arguments, formatter: nil, **options)
        formatter ||= Formatter.new if [$stdout, $stderr, STDOUT, STDERR].include?(device)
        super(device, *arguments, formatter: formatter, **options)
      end
    end

    class Formatter < ::Logger::Formatter
      LINE = "%s, [%s #%d] %5s %s -- %s: %s\n"

      def call(severity, time, program, message)
        # A record is one line, whatever is in it.
        text = msg2str(message).tr("\n", "\r")
        format(LINE, severity[0], format_datetime(time), Process.pid, severity, Log.request_id, program, text)
      end
    end
  end
end
