import { describe, expect, test } from "vitest"
import { ensureRuntime } from "../../../images/runtimes/runtime-disks.ts"
import { parseConfig } from "../../../src/config.ts"
import { startFunction, type FunctionOptions } from "./function.ts"
import { ARN, eventOf, invoke, openApi, openFiles } from "./program.ts"
import { startRuntime } from "./runtime-place.ts"

const start = (handler: string, code: Record<string, string>, more: Partial<FunctionOptions> = {}) =>
  startFunction({ language: "python", handler, code, ...more })

const HANDLERS = `import decimal, os
class Mine(Exception):
    pass
def fail(event, context):
    raise Mine("broken")
HANDLERS = {
    "echo": lambda event, context: event,
    "price": lambda event, context: {"price": decimal.Decimal("1.5"), "name": "ä"},
    "set": lambda event, context: {1},
    "fail": fail,
    "exit": lambda event, context: os._exit(7),
}
def handler(event, context):
    return HANDLERS[event["do"]](event, context)
`

describe("A Python function", () => {
  test("is found in a module, a package, and a directory, and imports what lies beside it", async () => {
    for (const [handler, code] of [
      [
        "app.handler",
        { "app.py": "import log\ndef handler(event, context):\n    return log.NAME", "log.py": "NAME = 'mine'" },
      ],
      ["pack.app.handler", { "pack/__init__.py": "", "pack/app.py": "def handler(e, c):\n    return 'mine'" }],
      ["src/app.handler", { "src/app.py": "def handler(e, c):\n    return 'mine'" }],
    ] as const) {
      await using started = await start(handler, code)
      expect(await invoke(started, {}), started.program.said.stderr).toEqual({ response: '"mine"' })
    }
  })

  test("answers with JSON, and fails with what it raised or with what has no JSON, as AWS prints it", async () => {
    await using started = await start("app.handler", { "app.py": HANDLERS })
    expect(await invoke(started, { do: "echo", n: 1 }), started.program.said.stderr).toEqual({
      response: '{"do": "echo", "n": 1}',
    })
    expect(await invoke(started, { do: "price" })).toEqual({ response: '{"price": 1.5, "name": "ä"}' })
    expect(await invoke(started, { do: "fail" }, { requestId: "id" })).toMatchObject({
      error: {
        errorMessage: "broken",
        errorType: "Mine",
        requestId: "id",
        stackTrace: [
          expect.stringMatching(/^ {2}File ".*\/app\.py", line 14, in handler\n {4}return HANDLERS.*\n$/),
          expect.stringMatching(/^ {2}File ".*\/app\.py", line 5, in fail\n {4}raise Mine\("broken"\)\n$/),
        ],
      },
    })
    expect(started.program.said.stdout).toMatch(
      /^\[ERROR\] Mine: broken\rTraceback \(most recent call last\):\r\u00a0\u00a0File ".*app\.py", line 14, in handler\r/,
    )
    expect(await invoke(started, { do: "set" })).toMatchObject({
      error: {
        errorType: "Runtime.MarshalError",
        errorMessage: "Unable to marshal response: Object of type set is not JSON serializable",
        stackTrace: [],
      },
    })
    expect(await invoke(started, "", { payload: Buffer.from("{") })).toMatchObject({
      error: {
        errorType: "Runtime.UnmarshalError",
        errorMessage: expect.stringMatching(/^Unable to unmarshal input: /),
      },
    })
    expect(await invoke(started, { do: "echo" })).toEqual({ response: '{"do": "echo"}' })
    started.api.invoke(eventOf({ do: "exit" }))
    expect(await started.program.closed).toEqual([7, null])
  })

  test("is told of its invocation, and of the time that is left", async () => {
    const code = `import os
def handler(event, context):
    names = ["aws_request_id", "log_group_name", "log_stream_name", "function_name", "memory_limit_in_mb", "function_version", "invoked_function_arn", "tenant_id"]
    told = {name: getattr(context, name) for name in names}
    told["left"] = 0 < context.get_remaining_time_in_millis() <= 60000
    told["trace"] = os.environ.get("_X_AMZN_TRACE_ID")
    told["custom"] = context.client_context and context.client_context.custom
    told["app"] = context.client_context and context.client_context.client.app_title
    told["identity"] = context.identity.cognito_identity_id
    return told
`
    await using started = await start("app.handler", { "app.py": code })
    const full = {
      requestId: "me",
      traceId: "Root=1-2-3",
      clientContext: '{"custom":{"a":"ä"},"client":{"app_title":"t"}}',
      cognitoIdentity: '{"cognitoIdentityId":"i"}',
      tenantId: "t",
    }
    expect(JSON.parse((await invoke(started, {}, full)).response)).toEqual({
      aws_request_id: "me",
      log_group_name: "/aws/lambda/greet",
      log_stream_name: "2026/01/31/[3]00",
      function_name: "greet",
      memory_limit_in_mb: "256",
      function_version: "3",
      invoked_function_arn: ARN,
      tenant_id: "t",
      left: true,
      trace: "Root=1-2-3",
      custom: { a: "ä" },
      app: "t",
      identity: "i",
    })
    expect(JSON.parse((await invoke(started, {})).response)).toMatchObject({
      trace: null,
      custom: null,
      identity: null,
    })
  })

  test("that cannot be loaded says why with the platform's own kinds, and exits", async () => {
    for (const [handler, code, errorType, errorMessage] of [
      ["app.handler", {}, "Runtime.ImportModuleError", "Unable to import module 'app': No module named 'app'"],
      [
        "app.handler",
        { "app.py": "import nowhere" },
        "Runtime.ImportModuleError",
        "Unable to import module 'app': No module named 'nowhere'",
      ],
      ["app.other", { "app.py": "" }, "Runtime.HandlerNotFound", "Handler 'other' missing on module 'app'"],
      [
        "app.handler",
        { "app.py": "def (" },
        "Runtime.UserCodeSyntaxError",
        expect.stringMatching(/^Syntax error in module 'app': .*\(app\.py, line 1\)$/),
      ],
      ["app", {}, "Runtime.MalformedHandlerName", "Bad handler 'app': not enough values to unpack (expected 2, got 1)"],
      ["sys.exit", {}, "Runtime.MalformedHandlerName", "Cannot use built-in module sys as a handler module"],
      ["app.handler", { "app.py": "1 / 0" }, "ZeroDivisionError", "division by zero"],
    ] as const) {
      await using started = await start(handler, code)
      const failure = await started.api.failed
      const body = { errorMessage, errorType, requestId: "", stackTrace: expect.any(Array) }
      expect(JSON.parse(String(failure.body))).toEqual(body)
      expect(await started.program.closed).toEqual([1, null])
    }
  })

  test("is read of in its log, a line each, with its invocation and its level, as text or as JSON", async () => {
    const code = `import logging
logger = logging.getLogger("mine")
logging.getLogger().setLevel("INFO")
def handler(event, context):
    print("printed")
    logger.info("two\\nlines %d", 2)
    logger.debug("small")
    try:
        1 / 0
    except ZeroDivisionError:
        logger.exception("failed", extra={"order": 7})
`
    await using text = await start("app.handler", { "app.py": code })
    await invoke(text, {}, { requestId: "id" })
    const lines = text.program.said.stdout.trimEnd().split("\n")
    expect(lines).toEqual([
      "printed",
      expect.stringMatching(/^\[INFO\]\t\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\tid\ttwo\rlines 2$/),
      expect.stringMatching(/^\[ERROR\]\t.*Z\tid\tfailed\rTraceback .*\r.*ZeroDivisionError: division by zero$/s),
    ])
    const env = { AWS_LAMBDA_LOG_FORMAT: "JSON", AWS_LAMBDA_LOG_LEVEL: "WARN" }
    const quiet = code.replace(/^logging\.getLogger\(\)\.setLevel.*\n/m, "")
    await using json = await start("app.handler", { "app.py": quiet }, { env })
    await invoke(json, {}, { requestId: "id", tenantId: "t" })
    const [printed, ...records] = json.program.said.stdout.trimEnd().split("\n")
    expect(printed).toBe("printed")
    expect(records.map((record) => JSON.parse(record) as unknown)).toEqual([
      {
        timestamp: expect.stringMatching(/Z$/),
        level: "ERROR",
        message: "failed",
        logger: "mine",
        stackTrace: expect.any(Array),
        errorType: "ZeroDivisionError",
        errorMessage: "division by zero",
        location: expect.stringMatching(/app\.py:handler:\d+$/),
        requestId: "id",
        tenantId: "t",
        order: 7,
      },
    ])
  })

  test("runs its hooks before the snapshot and after the restore, and a failed one is told", async () => {
    const code = `from snapshot_restore_py import register_before_snapshot, register_after_restore
steps = []
register_before_snapshot(steps.append, "second")
register_before_snapshot(steps.append, "first")
@register_after_restore
def restored():
    steps.append("restored")
def handler(event, context):
    return [*steps, context.log_stream_name]
`
    const snapshotted = {
      api: { initializationType: "snap-start" },
      env: { AWS_LAMBDA_INITIALIZATION_TYPE: "snap-start" },
    } as const
    await using started = await start("app.handler", { "app.py": code }, snapshotted)
    await started.api.initialised
    started.api.restore({ AWS_LAMBDA_LOG_STREAM_NAME: "its own" })
    expect(await invoke(started, {})).toEqual({ response: '["first", "second", "restored", "its own"]' })

    const failing = code.replace('steps.append("restored")', "1 / 0")
    await using other = await start("app.handler", { "app.py": failing }, snapshotted)
    await other.api.initialised
    other.api.restore({})
    expect((await other.api.failed).errorType).toBe("Runtime.AfterRestoreError")
    expect(await other.program.closed).toEqual([64, null])
  })
})

const all = process.env["TORPOR_TEST_ALL"] === "1"

test("A function of python3.11 has its own interpreter with all of its library, is restored, fails and goes on", async ({
  skip,
}) => {
  skip(!all, "its packages take a minute to fetch: TORPOR_TEST_ALL=1 has them")
  const code = `import importlib, os, sys
import distutils.util, ssl
dynamic = next(path for path in sys.path if path.endswith("lib-dynload"))
modules = [importlib.import_module(name.split(".")[0]) for name in os.listdir(dynamic)]
def handler(event, context):
    if event == "fail":
        raise ValueError("broken")
    version = "%d.%d" % sys.version_info[:2]
    return [event, version, os.path.exists(ssl.__cached__), len(modules) > 30, context.log_stream_name]
`
  const disks = await ensureRuntime("python3.11", parseConfig(process.env), () => {}, AbortSignal.timeout(600_000))
  await using task = await openFiles({ "app.py": code })
  await using api = await openApi({ initializationType: "snap-start" })
  await using started = await startRuntime(disks, api, {
    env: { _HANDLER: "app.handler", LAMBDA_TASK_ROOT: task.path, AWS_LAMBDA_INITIALIZATION_TYPE: "snap-start" },
  })
  const begun = await Promise.race([api.initialised.then(() => "initialised"), api.failed, started.program.closed])
  expect(begun, started.program.said.stdout + started.program.said.stderr).toBe("initialised")
  api.restore({ AWS_LAMBDA_LOG_STREAM_NAME: "its own" })
  for (const event of [1, 2]) {
    expect(JSON.parse((await invoke({ api }, event)).response)).toEqual([event, "3.11", true, true, "its own"])
    expect(await invoke({ api }, "fail")).toMatchObject({
      error: { errorType: "ValueError", stackTrace: [expect.stringContaining('raise ValueError("broken")')] },
    })
  }
})
