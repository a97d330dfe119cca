# frozen_string_literal: true

require "json"
require "logger"

# A function that is none: what it does is what most do, so that a runtime which has run it has all of that behind it.
module Trained
  LOGGER = Logger.new($stdout)

  def self.handler(event:, context:)
    LOGGER.info("event #{JSON.generate(event)}")
    puts "left #{context.get_remaining_time_in_millis}"
    { statusCode: 200, body: JSON.generate({ event: event }) }
  end
end
