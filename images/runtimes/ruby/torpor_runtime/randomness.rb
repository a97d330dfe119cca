# frozen_string_literal: true

module TorporRuntime
  # What a process knows of randomness is in its memory, and so in every process that comes from its snapshot: the kernel's is other in
  # each, this makes the process's own so, too.
  module Randomness
    # Of what is loaded: what is loaded later asks the kernel.
    def self.reseed
      Random.srand
      OpenSSL::Random.seed(Random.urandom(64)) if defined?(OpenSSL::Random)
    end
  end
end
