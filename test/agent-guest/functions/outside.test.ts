import { cp, mkdir, writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { expect, test } from "vitest"
import { bundleOf } from "./bundle.ts"
import { startFunction } from "./function.ts"
import { CLIENT_OF_RIC, HANDLER_OF_RIC } from "./ric.ts"
import { ARN, eventOf, openApi, openFiles, resultOf, startProgram } from "./program.ts"

test("Middy's middleware and Powertools' logger work in a Node function as they are", async () => {
  const code = { "index.mjs": await bundleOf("outside-function.ts") }
  await using started = await startFunction({ language: "nodejs", handler: "index.handler", code })
  const { api, program } = started
  const well = api.invoke(eventOf({ name: "ada" }, { requestId: "first" }))
  expect(await resultOf(well), program.said.stdout).toEqual({ response: '{"greeting":"hello ada"}' })
  await well.settled
  expect(await resultOf(api.invoke(eventOf({})))).toMatchObject({
    error: { errorType: "TypeError", errorMessage: "nobody" },
  })
  const [said] = program.said.stdout.split("\n")
  expect(JSON.parse(said ?? "")).toMatchObject({
    level: "INFO",
    message: "greeting",
    name: "ada",
    service: "outside",
    function_arn: ARN,
    function_name: "greet",
    function_memory_size: "256",
    function_request_id: "first",
    cold_start: true,
  })
})

test("AWS's own client for Node speaks to our Runtime API: events, errors, streams, and an init that fails", async () => {
  await using files = await openFiles({ "package.json": "{}", "index.js": HANDLER_OF_RIC })
  const installed = dirname(fileURLToPath(import.meta.resolve("aws-lambda-ric")))
  const ric = join(files.path, "ric")
  await mkdir(join(ric, "rapid-client.node"), { recursive: true })
  for (const name of ["index.mjs", "package.json"]) await cp(join(installed, name), join(ric, name))
  await writeFile(join(ric, "rapid-client.node/package.json"), '{"type":"commonjs"}')
  await writeFile(join(ric, "rapid-client.node/index.js"), CLIENT_OF_RIC)
  const start = (api: Awaited<ReturnType<typeof openApi>>, handler: string) =>
    startProgram(api, [process.execPath, join(ric, "index.mjs")], {
      _HANDLER: handler,
      LAMBDA_TASK_ROOT: files.path,
      AWS_LAMBDA_FUNCTION_NAME: "greet",
      AWS_LAMBDA_FUNCTION_VERSION: "3",
      AWS_LAMBDA_FUNCTION_MEMORY_SIZE: "256",
      AWS_LAMBDA_LOG_GROUP_NAME: "/aws/lambda/greet",
      AWS_LAMBDA_LOG_STREAM_NAME: "stream",
    })

  await using api = await openApi()
  await using program = start(api, "index.handler")
  for (const n of [1, 2]) {
    const answer = api.invoke(eventOf({ do: "echo", n }))
    expect(await resultOf(answer), program.said.stdout).toEqual({ response: `{"do":"echo","n":${n}}` })
    await answer.settled
  }
  const failing = api.invoke(eventOf({ do: "fail" }))
  expect(await resultOf(failing)).toMatchObject({ error: { errorType: "RangeError", errorMessage: "asked to" } })

  await using streams = await openApi()
  await using streaming = start(streams, "index.stream")
  for (const mode of ["streaming", "buffered"] as const) {
    const whole = streams.invoke(eventOf({}, { mode }))
    const response = `{"statusCode":201}${"\0".repeat(8)}begun`
    expect(await resultOf(whole), streaming.said.stdout).toEqual({ response })
    expect((await whole.head)?.contentType).toBe("application/vnd.awslambda.http-integration-response")
    await whole.settled
  }
  const midway = streams.invoke(eventOf({ fail: true }, { mode: "streaming" }))
  expect(await resultOf(midway)).toMatchObject({
    response: expect.stringMatching(/begun$/),
    error: { errorType: "RangeError", errorMessage: "midway" },
  })

  await using missing = await openApi()
  await using _ = start(missing, "nowhere.handler")
  expect((await missing.failed).errorType).toBe("Runtime.ImportModuleError")
})
