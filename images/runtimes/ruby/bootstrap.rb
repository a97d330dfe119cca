# frozen_string_literal: true

# What is started for a Ruby function.

require_relative "torpor_runtime/main"

TorporRuntime.main
