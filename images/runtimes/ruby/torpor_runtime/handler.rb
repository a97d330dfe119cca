# frozen_string_literal: true

module TorporRuntime
  # From a handler's name to the method that it names: `file.method`, or `file.Class.method`.
  class Handler
    MAIN = TOPLEVEL_BINDING.receiver

    # Requires its file; raises whatever that does.
    def initialize(name)
      file, *scope, @method = name.split(".")
      unless @method && scope.length <= 1
        raise ArgumentError,
              "Invalid handler #{name}: it is FILE.METHOD or FILE.CLASS.METHOD, where FILE.rb exists and CLASS may be in modules"
      end
      @class = scope.first
      require file
    end

    def call(event, context)
      receiver = @class ? Object.const_get(@class) : MAIN
      receiver.__send__(@method, event: event, context: context)
    end
  end
end
