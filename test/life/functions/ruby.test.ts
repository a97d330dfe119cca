import { expect, test } from "vitest"
import { startTestDaemon } from "../../fixtures/daemon.ts"
import { deploy, invoke, openLambda } from "../../fixtures/functions.ts"

const CODE = `require "greetings"
$calls = 0
def lambda_handler(event:, context:)
  raise ArgumentError, "broken" if event["fail"]
  puts "greeting #{event["name"]}"
  { text: "#{Greetings::WORD} #{event["name"]}", calls: $calls += 1, user: Process.uid, left: context.get_remaining_time_in_millis.positive? }
end`

const all = process.env["TORPOR_TEST_ALL"] === "1"

test("A Ruby function answers in a VM with its own gems, and keeps what it has between two events", async ({
  skip,
}) => {
  skip(
    !all,
    "its code runs in test/agent-guest/functions too, and a base takes a minute of an emulated core: TORPOR_TEST_ALL=1 has it in a VM",
  )
  await using daemon = await startTestDaemon({}, { environments: { initSeconds: 60 } })
  const lambda = await openLambda(daemon)
  const gems = "vendor/bundle/ruby/3.3.0"
  const files = {
    "lambda_function.rb": CODE,
    [`${gems}/specifications/greetings-1.0.0.gemspec`]: `Gem::Specification.new("greetings", "1.0.0") { |spec| spec.summary = "" }`,
    [`${gems}/gems/greetings-1.0.0/lib/greetings.rb`]: `module Greetings; WORD = "hello"; end`,
  }
  await deploy(lambda, "ruby", "ruby3.3", files, { Handler: "lambda_function.lambda_handler", Timeout: 60 })
  const first = await invoke(lambda, "ruby", { name: "ada" })
  expect(first.payload, first.log).toEqual({ text: "hello ada", calls: 1, user: expect.any(Number), left: true })
  expect((first.payload as { user: number }).user).not.toBe(0)
  expect(first.log).toContain("greeting ada\n")
  const second = await invoke(lambda, "ruby", { name: "bob" })
  expect(second.payload).toMatchObject({ text: "hello bob", calls: 2 })
  const failed = await invoke(lambda, "ruby", { fail: true })
  expect(failed).toMatchObject({
    error: "Unhandled",
    payload: { errorMessage: "broken", errorType: "Function<ArgumentError>" },
  })
  expect(failed.log).toContain("Error raised from handler method\n")
  lambda.destroy()
})
