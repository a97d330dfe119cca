# frozen_string_literal: true

require "json"
require "stringio"
require_relative "assignment"
require_relative "client"
require_relative "context"
require_relative "failure"
require_relative "handler"
require_relative "log"
require_relative "randomness"
require_relative "training"

# A Ruby function's runtime: loads its handler, then gives it one event after another.
module TorporRuntime
  class << self
    def main
      Log.set_up
      if ENV.key?(Assignment::WAITING)
        Training.run { train } while Assignment.wait["isTraining"]
        Randomness.reseed
      end
      serve
    end

    private

    # Until nobody gives it events any more.
    def train
      serve
    rescue SystemCallError, IOError
      # It is over.
    end

    def serve
      client = Client.new(ENV.fetch("AWS_LAMBDA_RUNTIME_API"))
      handler = load_handler(client)
      wait_for_restore(client) if ENV["AWS_LAMBDA_INITIALIZATION_TYPE"] == "snap-start"
      loop { handle(client, handler) }
    end

    def load_handler(client)
      task_root = ENV.fetch("LAMBDA_TASK_ROOT")
      $LOAD_PATH.unshift(task_root) unless $LOAD_PATH.include?(task_root)
      Handler.new(ENV.fetch("_HANDLER"))
    rescue StandardError, ScriptError => e
      failure = Failure.new(e, "Init")
      failure.say("Init error when loading handler #{ENV.fetch("_HANDLER")}")
      client.fail_phase("init", failure)
      exit!(1)
    end

    def wait_for_restore(client)
      ENV.update(client.restored)
      Randomness.reseed
    end

    def handle(client, handler)
      about, payload = client.next
      Log.request_id = about["requestId"]
      ENV["_X_AMZN_TRACE_ID"] = about["traceId"]
      begin
        body = answer(handler, about, payload)
      rescue Exception => e
        fail(client, e)
      else
        client.respond(body)
      end
    end

    # Nobody knows what is left of a process in which there was something else than an error, and AWS ends it at a missing method, too.
    def fail(client, error)
      is_last = error.is_a?(NoMethodError) || !error.is_a?(StandardError)
      failure = Failure.new(error, "Function")
      failure.say("Error raised from handler method")
      client.fail(failure, is_last: is_last)
      exit(1) if is_last
    end

    # As bytes: JSON, or whatever can be read.
    def answer(handler, about, payload)
      result = handler.call(JSON.parse(payload.force_encoding(Encoding::UTF_8)), LambdaContext.new(about))
      result.is_a?(IO) || result.is_a?(StringIO) ? result.read : result.to_json
    end
  end
end
