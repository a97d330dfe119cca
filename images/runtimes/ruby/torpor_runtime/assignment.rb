# frozen_string_literal: true

require "json"

module TorporRuntime
  # A runtime that was started before there is a function for it is told on its standard input, by a line of JSON, and becomes what it
  # would be had it been started with that. First, any number of times, it is trained by functions that are none.
  module Assignment
    WAITING = "_TORPOR_WAITING"
    # Read when Ruby starts, and never again: they are what `bootstrap` made of them.
    STARTED_WITH = %w[RUBYLIB LC_CTYPE].freeze

    # Returns what was told: `env`, all of it; `cwd`; and `isTraining`, where another follows.
    def self.wait
      line = $stdin.gets
      # Nobody will ever tell it.
      exit if line.nil?
      told = JSON.parse(line)
      ENV.replace(told["env"].merge(ENV.slice(*STARTED_WITH)))
      Gem.clear_paths
      # Also where it is the same path: by now something may be mounted there.
      Dir.chdir(told["cwd"])
      if told["isTraining"]
        # What is mounted there is taken away when it is over.
        Dir.chdir("/")
      else
        # A function finds nothing on its standard input.
        $stdin.reopen(File::NULL)
      end
      told
    end
  end
end
