require "json"

MIGRATED = File.read("tmp/migrated").strip

run lambda { |env|
  request = Rack::Request.new(env)
  body = { path: request.path, migrated: MIGRATED, environment: ENV["RACK_ENV"], words: request.params["q"]&.split }
  [200, { "content-type" => "application/json" }, [JSON.generate(body)]]
}
