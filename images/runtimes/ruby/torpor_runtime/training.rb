# frozen_string_literal: true

module TorporRuntime
  # What a function of training leaves behind is taken away, so that the function which follows finds the process as it was.
  module Training
    def self.run
      constants = Object.constants
      path = $LOAD_PATH.dup
      yield
    ensure
      task_root = ENV.fetch("LAMBDA_TASK_ROOT")
      $LOADED_FEATURES.reject! { |feature| feature.start_with?("#{task_root}/") }
      $LOAD_PATH.replace(path)
      left = Object.constants - constants
      left.each { |name| Object.__send__(:remove_const, name) if Object.const_source_location(name)&.first&.start_with?(task_root) }
      Log.request_id = nil
      # What a function begins with isn't looked at again in its time.
      Process.warmup
    end
  end
end
