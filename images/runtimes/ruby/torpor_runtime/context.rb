# frozen_string_literal: true

require "json"

module TorporRuntime
  # What a handler is told of its invocation beside the event.
  class LambdaContext
    attr_reader :aws_request_id, :invoked_function_arn, :log_group_name, :log_stream_name, :function_name,
                :memory_limit_in_mb, :function_version, :identity, :client_context, :deadline_ms, :tenant_id

    def initialize(about)
      @aws_request_id = about["requestId"]
      @invoked_function_arn = about["functionArn"]
      @deadline_ms = about["deadlineMs"]
      @tenant_id = about["tenantId"]
      @log_group_name = ENV["AWS_LAMBDA_LOG_GROUP_NAME"]
      @log_stream_name = ENV["AWS_LAMBDA_LOG_STREAM_NAME"]
      @function_name = ENV["AWS_LAMBDA_FUNCTION_NAME"]
      @memory_limit_in_mb = ENV["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
      @function_version = ENV["AWS_LAMBDA_FUNCTION_VERSION"]
      @client_context = parse(about["clientContext"])
      @identity = parse(about["cognitoIdentity"])
    end

    def get_remaining_time_in_millis
      [@deadline_ms - Process.clock_gettime(Process::CLOCK_REALTIME, :millisecond), 0].max
    end

    private

    def parse(text)
      JSON.parse(text) unless text.nil? || text.empty?
    end
  end
end
