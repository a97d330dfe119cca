import { expect, test } from "vitest"
import { startTestDaemon } from "../../fixtures/daemon.ts"
import { deploy, invoke, openLambda, publishLayer } from "../../fixtures/functions.ts"

const CODE = `import logging, os, sys
import words
calls = 0
def handler(event, context):
    global calls
    if event.get("fail"):
        raise ValueError("broken")
    calls += 1
    logging.getLogger().warning("greeting %s", event["name"])
    return {
        "text": "%s %s" % (words.GREETING, event["name"]),
        "calls": calls,
        "python": "%d.%d" % sys.version_info[:2],
        "prefix": sys.prefix,
        "function": [context.function_name, context.memory_limit_in_mb, os.environ["AWS_EXECUTION_ENV"]],
        "left": context.get_remaining_time_in_millis() > 0,
        "user": os.getuid(),
    }
`

const all = process.env["TORPOR_TEST_ALL"] === "1"

test("A function of python3.11 answers in a VM with its layer's modules, and keeps what it has between two events", async ({
  skip,
}) => {
  skip(!all, "its packages take a minute, and its base another of an emulated core: TORPOR_TEST_ALL=1 has it in a VM")
  await using daemon = await startTestDaemon({}, { environments: { initSeconds: 120 } })
  const lambda = await openLambda(daemon)
  const layer = await publishLayer(lambda, "words", {
    "python/lib/python3.11/site-packages/words.py": 'GREETING = "hello"\n',
  })
  const more = { Handler: "app.handler", Timeout: 60, Layers: [layer] }
  await deploy(lambda, "python", "python3.11", { "app.py": CODE }, more)
  const first = await invoke(lambda, "python", { name: "ada" })
  expect(first.payload, first.log).toEqual({
    text: "hello ada",
    calls: 1,
    python: "3.11",
    prefix: "/var/lang",
    function: ["python", "128", "AWS_Lambda_python3.11"],
    left: true,
    user: 993,
  })
  expect(first.log).toMatch(/\[WARNING\]\t\S+Z\t[0-9a-f-]{36}\tgreeting ada\n/)
  const second = await invoke(lambda, "python", { name: "bob" })
  expect(second.payload).toMatchObject({ text: "hello bob", calls: 2 })
  const failed = await invoke(lambda, "python", { fail: true })
  expect(failed).toMatchObject({
    error: "Unhandled",
    payload: {
      errorType: "ValueError",
      errorMessage: "broken",
      stackTrace: ['  File "/var/task/app.py", line 7, in handler\n    raise ValueError("broken")\n'],
    },
  })
  lambda.destroy()
})
