import { describe, expect, test } from "vitest"
import { ensureRuntime } from "../../../images/runtimes/runtime-disks.ts"
import { RUNTIMES, type RuntimeName } from "../../../images/runtimes/runtimes.ts"
import { parseConfig } from "../../../src/config.ts"
import { startFunction, type FunctionOptions } from "./function.ts"
import { ARN, eventOf, invoke, openApi, openFiles, resultOf } from "./program.ts"
import { startRuntime } from "./runtime-place.ts"

const start = (handler: string, code: Record<string, string>, more: Partial<FunctionOptions> = {}) =>
  startFunction({ language: "nodejs", handler, code, ...more })
const UNTIL_22 = { env: { AWS_EXECUTION_ENV: "AWS_Lambda_nodejs22.x" } }
const ECHO = "export const handler = async (event) => ({ echo: event })"

describe("A Node function", () => {
  test("is found in files of each kind, in directories, and nested in what they export", async () => {
    for (const [handler, code] of [
      ["index.handler", { "index.mjs": ECHO }],
      ["index.handler", { "index.js": "exports.handler = async (event) => ({ echo: event })" }],
      ["index.handler", { "index.js": ECHO, "package.json": '{"type":"module"}' }],
      [
        "src/api/index.inner.handler",
        { "src/api/index.cjs": "module.exports = { inner: { handler: (e) => Promise.resolve({ echo: e }) } }" },
      ],
      ["index.handler", { "index.mjs": "await 0; export default { handler: async (event) => ({ echo: event }) }" }],
      [
        "packaged.handler",
        { "node_modules/packaged/index.js": "exports.handler = async (event) => ({ echo: event })" },
      ],
    ] as const) {
      await using started = await start(handler, code)
      expect(await invoke(started, { n: 1 }), started.program.said.stdout).toEqual({ response: '{"echo":{"n":1}}' })
    }
  })

  test("is started by the wrapper that it names, and not at all where that isn't there", async () => {
    const code = {
      "index.mjs": "export const handler = async () => process.env.WRAPPED",
      wrapper: '#!/bin/sh\nexport WRAPPED=yes\nexec "$@"\n',
    }
    const startBy = (wrapper: string) => start("index.handler", code, { env: { AWS_LAMBDA_EXEC_WRAPPER: wrapper } })
    await using wrapped = await startBy("./wrapper")
    expect(await invoke(wrapped, {})).toEqual({ response: '"yes"' })
    await using missing = await startBy("./missing")
    expect((await missing.program.closed)[0]).toBe(127)
  })

  test("is told of its invocation, and of the time that is left", async () => {
    const code = `export const handler = async (event, context) => {
      const left = context.getRemainingTimeInMillis()
      return { ...context, left: left > 0 && left <= 60_000, trace: process.env._X_AMZN_TRACE_ID ?? null }
    }`
    await using started = await start("index.handler", { "index.mjs": code })
    const more = { requestId: "me", traceId: "Root=1-2-3", clientContext: '{"custom":"ä"}', tenantId: "t" }
    const { response } = await invoke(started, {}, more)
    expect(JSON.parse(response)).toEqual({
      awsRequestId: "me",
      clientContext: { custom: "ä" },
      functionName: "greet",
      functionVersion: "3",
      invokedFunctionArn: ARN,
      left: true,
      logGroupName: "/aws/lambda/greet",
      logStreamName: "2026/01/31/[3]00",
      memoryLimitInMB: "256",
      tenantId: "t",
      trace: "Root=1-2-3",
    })
    expect(JSON.parse((await invoke(started, {})).response)).toMatchObject({ trace: null })
  })

  test("answers with JSON, and fails with the error that it threw or with what has no JSON", async () => {
    const code = `
      class Mine extends Error { name = "Mine" }
      const handlers = {
        nothing: () => undefined,
        text: () => "ä",
        error: () => { throw Object.assign(new Mine("broken"), { code: 7 }) },
        word: () => { throw "just words" },
        circle: () => { const a = {}; a.a = a; return a },
      }
      export const handler = async (event) => handlers[event]()`
    await using started = await start("index.handler", { "index.mjs": code })
    expect(await invoke(started, "nothing")).toEqual({ response: "null" })
    expect(await invoke(started, "text")).toEqual({ response: '"ä"' })
    expect(await invoke(started, "error")).toMatchObject({
      error: {
        errorType: "Mine",
        errorMessage: "broken",
        trace: expect.arrayContaining([expect.stringMatching(/^ {4}at .*index\.mjs/)]),
      },
    })
    expect(await invoke(started, "word")).toMatchObject({
      error: { errorType: "string", errorMessage: "just words", trace: [] },
    })
    expect(await invoke(started, "circle")).toMatchObject({
      error: { errorType: "Runtime.JSONStringifyError", errorMessage: "Unable to stringify response body" },
    })
    expect(await invoke(started, "text")).toEqual({ response: '"ä"' })
  })

  test("until Node 22 calls back, when nothing is left to do or at once, and has an answer when it never does", async () => {
    const code = `
      const handlers = {
        late(context, callback) { const before = Date.now(); setTimeout(() => globalThis.left = "done", 50); callback(null, "late") },
        left: (context, callback) => callback(null, globalThis.left),
        now(context, callback) { context.callbackWaitsForEmptyEventLoop = false; setInterval(() => {}, 60_000).unref(); globalThis.held = setInterval(() => {}, 60_000); callback(null, "now") },
        release: (context, callback) => { clearInterval(globalThis.held); callback(new Error("released")) },
        never: () => "not an answer",
        succeed: (context) => context.succeed("old"),
        fail: (context) => context.fail(new TypeError("older")),
        promise: async () => "promised",
      }
      exports.handler = (event, context, callback) => handlers[event](context, callback)`
    await using started = await start("index.handler", { "index.js": code }, UNTIL_22)
    expect(await invoke(started, "late"), started.program.said.stdout).toEqual({ response: '"late"' })
    expect(await invoke(started, "left")).toEqual({ response: '"done"' })
    expect(await invoke(started, "now")).toEqual({ response: '"now"' })
    expect(await invoke(started, "release")).toMatchObject({ error: { errorType: "Error", errorMessage: "released" } })
    expect(await invoke(started, "never")).toEqual({ response: "null" })
    expect(await invoke(started, "succeed")).toEqual({ response: '"old"' })
    expect(await invoke(started, "fail")).toMatchObject({ error: { errorType: "TypeError", errorMessage: "older" } })
    expect(await invoke(started, "promise")).toEqual({ response: '"promised"' })

    await using modern = await start(
      "index.handler",
      { "index.js": code },
      {
        env: { AWS_EXECUTION_ENV: "AWS_Lambda_nodejs24.x" },
      },
    )
    expect((await modern.api.failed).errorType).toBe("Runtime.CallbackHandlerDeprecated")
  })

  test("that cannot be loaded says why with the platform's own kinds, and exits", async () => {
    for (const [handler, code, errorType, errorMessage] of [
      [
        "index.handler",
        {},
        "Runtime.ImportModuleError",
        /^Error: Cannot find module 'index'\nRequire stack:\n- .*index\.mjs$/,
      ],
      [
        "index.handler",
        { "index.js": "require('nowhere')" },
        "Runtime.ImportModuleError",
        /^Error: Cannot find module 'nowhere'/,
      ],
      ["index.other", { "index.mjs": ECHO }, "Runtime.HandlerNotFound", /^index\.other is undefined or not exported$/],
      [
        "index.handler",
        { "index.js": "exports.handler = 1" },
        "Runtime.HandlerNotFound",
        /^index\.handler is not a function$/,
      ],
      ["index.handler", { "index.mjs": "export const =" }, "Runtime.UserCodeSyntaxError", /^SyntaxError: /],
      ["index", { "index.mjs": ECHO }, "Runtime.MalformedHandlerName", /^Bad handler$/],
      ["../index.handler", {}, "Runtime.MalformedHandlerName", /^'\.\.\/index\.handler' is not a valid handler name/],
      ["index.handler", { "index.mjs": "throw new RangeError('at once')" }, "RangeError", /^at once$/],
    ] as const) {
      await using started = await start(handler, code)
      const failure = await started.api.failed
      expect(JSON.parse(String(failure.body))).toEqual({
        errorType,
        errorMessage: expect.stringMatching(errorMessage),
        trace: expect.any(Array),
      })
      expect(failure.errorType).toBe(errorType.startsWith("Runtime.") ? errorType : "Runtime.Unknown")
      expect(await started.program.closed).toEqual([129, null])
    }
  })

  test("that lets an error or a rejection go unhandled fails with it, and exits", async () => {
    const code = `export const handler = (event) => new Promise(() => {
      if (event === "rejection") void Promise.reject(new TypeError("forgotten"))
      else setImmediate(() => { throw new TypeError("thrown") })
      setTimeout(() => {}, 60_000)
    })`
    await using rejecting = await start("index.handler", { "index.mjs": code })
    expect(await resultOf(rejecting.api.invoke(eventOf("rejection")))).toMatchObject({
      error: { errorType: "Runtime.UnhandledPromiseRejection", errorMessage: "TypeError: forgotten" },
    })
    expect(await rejecting.program.closed).toEqual([128, null])
    expect(rejecting.program.said.stdout).toMatch(/\tERROR\tUnhandled Promise Rejection \t\{"errorType":"Runtime.Un/)
    await using throwing = await start("index.handler", { "index.mjs": code })
    expect(await resultOf(throwing.api.invoke(eventOf("error")))).toMatchObject({
      error: { errorType: "TypeError", errorMessage: "thrown" },
    })
    expect(await throwing.program.closed).toEqual([129, null])
  })

  test("is read of in its log, a line each, with its invocation and its level, as text or as JSON", async () => {
    const code = `
      console.log("loading")
      export const handler = async (event) => {
        console.log("two\\nlines", { a: 1 })
        console.debug("small")
        console.warn("%d of %d", 1, 2)
        console.error("failed:", new TypeError("so"))
        console.info({ whole: true })
        throw new RangeError("end")
      }`
    await using text = await start("index.handler", { "index.mjs": code })
    await invoke(text, 1, { requestId: "id" })
    const lines = text.program.said.stdout.trimEnd().split("\n")
    const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\t/
    for (const line of lines) expect(line).toMatch(TIME)
    expect(lines.map((line) => line.replace(TIME, "").replace(/\r {4}at [^]*/, "")).slice(0, 6)).toEqual([
      "-\tINFO\tloading",
      "id\tINFO\ttwo\rlines { a: 1 }",
      "id\tDEBUG\tsmall",
      "id\tWARN\t1 of 2",
      "id\tERROR\tfailed: TypeError: so",
      "id\tINFO\t{ whole: true }",
    ])
    expect(lines[6]).toMatch(
      /\tid\tERROR\tInvoke Error \t\{"errorType":"RangeError","errorMessage":"end","stack":\["Ra/,
    )

    const env = { AWS_LAMBDA_LOG_FORMAT: "JSON", AWS_LAMBDA_LOG_LEVEL: "INFO" }
    await using json = await start("index.handler", { "index.mjs": code }, { env })
    await invoke(json, 1, { requestId: "id", tenantId: "t" })
    const records = json.program.said.stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    const common = { timestamp: expect.any(String), requestId: "id", tenantId: "t" }
    expect(records.slice(1)).toEqual([
      { ...common, level: "INFO", message: "two\nlines { a: 1 }" },
      { ...common, level: "WARN", message: "1 of 2" },
      {
        ...common,
        level: "ERROR",
        message: expect.stringContaining("failed: TypeError: so"),
        errorType: "TypeError",
        errorMessage: "so",
        stackTrace: expect.any(Array),
      },
      { ...common, level: "INFO", message: { whole: true } },
      {
        ...common,
        level: "ERROR",
        message: { errorType: "RangeError", errorMessage: "end", stackTrace: expect.any(Array) },
      },
    ])
  })

  test("is restored when its environment is, before its first event, and has that one's variables", async () => {
    // Of the integers that Node keeps ready it knows all.
    const code = `import { randomInt } from "node:crypto"
const { readUIntBE } = Buffer.prototype
let kept
Buffer.prototype.readUIntBE = function (...place) { kept = this; return readUIntBE.apply(this, place) }
randomInt(2)
Buffer.prototype.readUIntBE = readUIntBE
kept.fill(7)
export const handler = async (event, { logStreamName }) => ({ echo: event, logStreamName, isOld: randomInt(2 ** 47) === 0x070707070707 })`
    await using started = await start(
      "index.handler",
      { "index.mjs": code },
      {
        api: { initializationType: "snap-start" },
        env: { AWS_LAMBDA_INITIALIZATION_TYPE: "snap-start" },
      },
    )
    await started.api.initialised
    started.api.restore({ AWS_LAMBDA_LOG_STREAM_NAME: "its own" })
    expect(await invoke(started, 1)).toEqual({ response: '{"echo":1,"logStreamName":"its own","isOld":false}' })
  })
})

describe("A Node function of a runtime with an interpreter of its own", () => {
  const names = (Object.keys(RUNTIMES) as RuntimeName[]).filter((name) => {
    const { language, interpreter } = RUNTIMES[name]
    return language === "nodejs" && interpreter.kind === "npm"
  })
  test.each(names)("is restored, answers, fails and goes on: %s", async (name) => {
    const CODE = `const [major] = process.versions.node.split(".")
export const handler = async (event, { logStreamName }) => {
  if (event === "fail") throw new TypeError("broken")
  return { event, major, logStreamName }
}`
    const disks = await ensureRuntime(name, parseConfig(process.env), () => {}, AbortSignal.timeout(600_000))
    await using task = await openFiles({ "index.mjs": CODE })
    await using api = await openApi({ initializationType: "snap-start" })
    await using started = await startRuntime(disks, api, {
      env: {
        _HANDLER: "index.handler",
        LAMBDA_TASK_ROOT: task.path,
        AWS_LAMBDA_INITIALIZATION_TYPE: "snap-start",
      },
    })
    const begun = await Promise.race([api.initialised.then(() => "initialised"), api.failed, started.program.closed])
    expect(begun, started.program.said.stderr).toBe("initialised")
    api.restore({ AWS_LAMBDA_LOG_STREAM_NAME: "its own" })
    const major = /\d+/.exec(name)?.[0]
    for (const event of [1, 2]) {
      const { response } = await invoke({ api }, event)
      expect(JSON.parse(response), started.program.said.stderr).toEqual({ event, major, logStreamName: "its own" })
      expect(await invoke({ api }, "fail")).toMatchObject({ error: { errorType: "TypeError", errorMessage: "broken" } })
    }
  })
})

describe("A streaming Node function", () => {
  const CODE = `
    import { pipeline } from "node:stream/promises"
    import { Readable } from "node:stream"
    const handlers = {
      async plain(stream) { stream.setContentType("text/plain"); stream.write("one "); stream.write({ two: 2 }); stream.end() },
      async http(stream) {
        const response = awslambda.HttpResponseStream.from(stream, { statusCode: 201, headers: { a: "b" }, cookies: ["c"] })
        await pipeline(Readable.from(["body"]), response)
      },
      async large(stream) { await pipeline(Readable.from((function* () { for (let n = 0; n < 200; n++) yield Buffer.alloc(50_000, "x") })()), stream) },
      async midway(stream) { stream.write("begun"); await new Promise(setImmediate); throw new TypeError("midway") },
      async early() { throw new RangeError("early") },
      sync: () => "no promise",
    }
    export const handler = awslambda.streamifyResponse((event, stream, context) => handlers[event](stream, context))`

  test("writes at its own pace, with a status of its own if it likes, and fails before or behind its first byte", async () => {
    await using started = await start("index.handler", { "index.mjs": CODE })
    const stream = async (event: string) => {
      const answer = started.api.invoke(eventOf(event, { mode: "streaming" }))
      const result = await resultOf(answer)
      await answer.settled
      return { ...result, contentType: (await answer.head)?.contentType }
    }
    expect(await stream("plain"), started.program.said.stdout).toEqual({
      response: 'one {"two":2}',
      contentType: "text/plain",
    })
    expect(await stream("http")).toEqual({
      response: `{"statusCode":201,"headers":{"a":"b"},"cookies":["c"]}${"\0".repeat(8)}body`,
      contentType: "application/vnd.awslambda.http-integration-response",
    })
    expect((await stream("large")).response.length).toBe(10_000_000)
    expect(await stream("midway")).toMatchObject({
      response: "begun",
      contentType: "application/octet-stream",
      error: { errorType: "TypeError", errorMessage: "midway" },
    })
    expect(await stream("early")).toMatchObject({ response: "", error: { errorType: "RangeError" } })
    expect(await stream("sync")).toMatchObject({
      error: { errorMessage: "Streaming does not support non-async handlers." },
    })
    expect(await invoke(started, "plain")).toEqual({ response: 'one {"two":2}' })
  })
})
