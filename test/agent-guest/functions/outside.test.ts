import { cp, mkdir, writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"
import { expect, test } from "vitest"
import { startFunction } from "./function.ts"
import { ARN, eventOf, openApi, openFiles, resultOf, startProgram } from "./program.ts"

test("Middy's middleware and Powertools' logger work in a Node function as they are", async () => {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL("outside-function.ts", import.meta.url))],
    bundle: true,
    write: false,
    platform: "node",
    target: "node20",
    format: "esm",
    banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
  })
  const code = { "index.mjs": outputFiles[0]?.text ?? "" }
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

/** Its own client is native, and is built when it is installed; this one asks the same of the same API. */
const CLIENT = `
const http = require("node:http")
const [hostname, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":")
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
const ask = (method, path, body, headers = {}) => new Promise((resolve, reject) => {
  const asked = http.request({ hostname, port, agent, method, path: "/2018-06-01/runtime/invocation/" + path, headers }, (answer) => {
    let bodyJson = ""
    answer.setEncoding("utf8").on("data", (data) => (bodyJson += data)).on("end", () => resolve({ bodyJson, headers: answer.headers }))
  })
  asked.on("error", reject).end(body)
})
exports.initializeClient = () => {}
let told = Promise.resolve()
exports.next = () => told.then(() => ask("GET", "next"))
exports.done = (id, body) => void (told = ask("POST", id + "/response", body))
exports.error = (id, body, xray) => void (told = ask("POST", id + "/error", body, { "lambda-runtime-function-xray-error-cause": xray }))
`

const HANDLER = `
const handlers = {
  echo: async (event) => event,
  fail: async () => { throw new RangeError("asked to") },
}
exports.handler = (event) => handlers[event.do](event)
exports.stream = awslambda.streamifyResponse(async (event, stream) => {
  const response = awslambda.HttpResponseStream.from(stream, { statusCode: 201 })
  response.write("begun")
  if (event.fail) throw new RangeError("midway")
  response.end()
})
`

test("AWS's own client for Node speaks to our Runtime API: events, errors, streams, and an init that fails", async () => {
  await using files = await openFiles({ "package.json": "{}", "index.js": HANDLER })
  const installed = dirname(fileURLToPath(import.meta.resolve("aws-lambda-ric")))
  const ric = join(files.path, "ric")
  await mkdir(join(ric, "rapid-client.node"), { recursive: true })
  for (const name of ["index.mjs", "package.json"]) await cp(join(installed, name), join(ric, name))
  await writeFile(join(ric, "rapid-client.node/package.json"), '{"type":"commonjs"}')
  await writeFile(join(ric, "rapid-client.node/index.js"), CLIENT)
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
