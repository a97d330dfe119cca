import { afterEach, beforeAll, describe, expect, test } from "vitest"
import { ensureRuntime, type RuntimeDisks } from "../../../images/runtimes/runtime-disks.ts"
import { LANGUAGES } from "../../../images/runtimes/languages.ts"
import { parseConfig } from "../../../src/config.ts"
import type { RuntimeApiOptions } from "../../../images/agent/functions/runtime-api.ts"
import { FUNCTION_ENV } from "./function.ts"
import { ARN, eventOf, invoke, openApi, openFiles, resultOf } from "./program.ts"
import { startRuntime } from "./runtime-place.ts"

const HANDLERS = `require "stringio"
class Mine < StandardError; end
def handler(event:, context:)
  case event["do"]
  when "echo" then event
  when "raw" then StringIO.new("plain")
  when "fail" then fail_here
  when "nan" then Float::NAN
  when "missing" then nil.nothing
  when "exit" then exit 7
  when "exit!" then exit! 7
  when "deep" then handler(event: event, context: context)
  end
end
def fail_here
  raise Mine, "brök\\xFFen"
end
`

describe("A Ruby function", () => {
  let disks: RuntimeDisks
  let stack = new AsyncDisposableStack()
  beforeAll(async () => {
    disks = await ensureRuntime("ruby3.3", parseConfig(process.env), () => {}, AbortSignal.timeout(600_000))
  }, 600_000)
  afterEach(async () => {
    await stack.disposeAsync()
    stack = new AsyncDisposableStack()
  })

  const start = async (
    handler: string,
    code: Readonly<Record<string, string>>,
    { env = {}, api: options = {} }: { env?: Readonly<Record<string, string>>; api?: Partial<RuntimeApiOptions> } = {},
  ) => {
    const task = stack.use(await openFiles(code))
    const api = stack.use(await openApi(options))
    const started = await startRuntime(disks, api, { env: { _HANDLER: handler, LAMBDA_TASK_ROOT: task.path, ...env } })
    return { api, program: stack.use(started).program, path: task.path }
  }

  test("is a method of a file, or of a class in one, and requires what lies beside it and gems of its own", async () => {
    const gem = {
      "vendor/specifications/mine-1.0.0.gemspec": `Gem::Specification.new("mine", "1.0.0") { |s| s.summary = "" }`,
    }
    for (const [handler, code] of [
      ["app.handler", { "app.rb": `require "log"\ndef handler(event:, context:) = NAME`, "log.rb": `NAME = "mine"` }],
      ["src/app.handler", { "src/app.rb": `def handler(event:, context:) = "mine"` }],
      [
        "app.Scope::Functions.call",
        { "app.rb": `module Scope; class Functions; def self.call(event:, context:) = "mine"; end; end` },
      ],
      [
        "app.handler",
        {
          "app.rb": `require "gemmed"\nrequire "bigdecimal"\nrequire "openssl"\nrequire "psych"\ndef handler(event:, context:) = GEMMED`,
          "vendor/gems/mine-1.0.0/lib/gemmed.rb": `GEMMED = "mine"`,
          ...gem,
        },
      ],
    ] as const) {
      const started = await start(handler, code, { env: { GEM_PATH: "vendor" } })
      expect(await invoke(started, {}), started.program.said.stderr).toEqual({ response: '"mine"' })
      expect(started.program.said).toEqual({ stdout: "", stderr: "" })
    }
  })

  test("answers with JSON or with what can be read, and fails with what it raised, as AWS prints it", async () => {
    const started = await start("app.handler", { "app.rb": HANDLERS })
    expect(await invoke(started, { do: "echo", name: "ä" }), started.program.said.stderr).toEqual({
      response: '{"do":"echo","name":"ä"}',
    })
    expect(await invoke(started, { do: "raw" })).toEqual({ response: "plain" })
    expect(await invoke(started, { do: "nothing" })).toEqual({ response: "null" })
    const error = {
      errorMessage: "brök\u{fffd}en",
      errorType: "Function<Mine>",
      stackTrace: [
        expect.stringMatching(/^\/.*\/app\.rb:16:in `fail_here'$/),
        expect.stringMatching(/^\/.*\/app\.rb:7:in `handler'$/),
      ],
    }
    expect(await invoke(started, { do: "fail" })).toMatchObject({ response: "", error })
    const [words, said = ""] = started.program.said.stdout.trimEnd().split("\n")
    expect(words).toBe("Error raised from handler method")
    expect(JSON.parse(said)).toEqual(error)
    expect(await invoke(started, { do: "nan" })).toMatchObject({
      error: { errorType: "Function<JSON::GeneratorError>" },
    })
    expect(await invoke(started, { do: "echo" })).toEqual({ response: '{"do":"echo"}' })
  })

  test("ends with its process where it exits, overflows its stack or calls what there isn't, and its caller is told", async () => {
    for (const [what, errorType] of [
      ["missing", "Function<NoMethodError>"],
      ["exit", "Function<SystemExit>"],
      ["deep", "Function<SystemStackError>"],
    ] as const) {
      const started = await start("app.handler", { "app.rb": HANDLERS })
      const answer = started.api.invoke(eventOf({ do: what }))
      expect(await resultOf(answer), started.program.said.stderr).toMatchObject({ error: { errorType } })
      expect(await started.program.closed).toEqual([1, null])
    }
    const started = await start("app.handler", { "app.rb": HANDLERS })
    started.api.invoke(eventOf({ do: "exit!" }))
    expect(await started.program.closed).toEqual([7, null])
  })

  test("is told of its invocation, and of the time that is left", async () => {
    const code = `NAMES = %i[aws_request_id log_group_name log_stream_name function_name memory_limit_in_mb function_version invoked_function_arn tenant_id client_context identity]
def handler(event:, context:)
  NAMES.to_h { |name| [name, context.public_send(name)] }.merge(
    left: context.get_remaining_time_in_millis.between?(1, 60_000),
    deadline: context.deadline_ms,
    trace: ENV["_X_AMZN_TRACE_ID"],
    encodings: [Encoding.default_external, ENV["WORD"].encoding],
    word: ENV["WORD"]
  )
end`
    const started = await start("app.handler", { "app.rb": code }, { env: { WORD: "ä", LANG: "en_US.UTF-8" } })
    const full = {
      requestId: "me",
      deadlineMs: Date.now() + 50_000,
      traceId: "Root=1-2-3",
      clientContext: '{"custom":{"a":"ä"}}',
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
      client_context: { custom: { a: "ä" } },
      identity: { cognitoIdentityId: "i" },
      left: true,
      deadline: full.deadlineMs,
      trace: "Root=1-2-3",
      encodings: ["UTF-8", "UTF-8"],
      word: "ä",
    })
    expect(JSON.parse((await invoke(started, {})).response)).toMatchObject({ trace: null, client_context: null })
  })

  test("that cannot be loaded says why, and exits", async () => {
    for (const [handler, code, errorType, errorMessage] of [
      ["app.handler", {}, "Init<LoadError>", "cannot load such file -- app"],
      ["app.handler", { "app.rb": "def (" }, "Init<SyntaxError>", expect.stringContaining("app.rb:1: syntax error")],
      ["app.handler", { "app.rb": "1 / 0" }, "Init<ZeroDivisionError>", "divided by 0"],
      ["app", {}, "Init<ArgumentError>", expect.stringMatching(/^Invalid handler app: /)],
      ["a.b.c.d", {}, "Init<ArgumentError>", expect.stringMatching(/^Invalid handler a\.b\.c\.d: /)],
    ] as const) {
      const started = await start(handler, code)
      const failure = await started.api.failed
      expect(JSON.parse(String(failure.body))).toEqual({ errorMessage, errorType, stackTrace: expect.any(Array) })
      expect(await started.program.closed).toEqual([1, null])
    }
  })

  test("is read of in its log: lines of Ruby's own loggers have its invocation", async () => {
    const code = `require "logger"
def handler(event:, context:)
  puts "printed"
  Logger.new($stdout, progname: "mine").info("two\\nlines")
  Logger.new(STDERR, formatter: ->(*, message) { "own #{message}\\n" }).warn("format")
end`
    const started = await start("app.handler", { "app.rb": code })
    await invoke(started, {}, { requestId: "id" })
    await expect
      .poll(() => started.program.said.stdout.split("\n"))
      .toEqual([
        "printed",
        expect.stringMatching(/^I, \[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6} #\d+\] {2}INFO id -- mine: two\rlines$/),
        "",
      ])
    expect(started.program.said.stderr).toBe("own format\n")
  })

  test("goes on after its restore with variables of its own, and other random numbers", async () => {
    const code = `require "openssl"
srand(1)
def handler(event:, context:) = [context.log_stream_name, rand(1 << 48)]`
    const started = await start(
      "app.handler",
      { "app.rb": code },
      {
        api: { initializationType: "snap-start" },
        env: { AWS_LAMBDA_INITIALIZATION_TYPE: "snap-start" },
      },
    )
    await started.api.initialised
    started.api.restore({ AWS_LAMBDA_LOG_STREAM_NAME: "its own" })
    const { response } = await invoke(started, {})
    const [stream, number] = JSON.parse(response) as [string, number]
    expect(stream).toBe("its own")
    // What 1 seeds.
    expect(number).not.toBe(268_444_033_843_435)
  })

  test("that is given to a runtime which waited is as one that was started with it, and has nothing of its training", async () => {
    const code = `puts "loaded"
def handler(event:, context:)
  {
    env: ENV.to_h.except("RUBYLIB", "LC_CTYPE"),
    cwd: Dir.pwd,
    stdin: $stdin.read,
    links: File.readlink("/proc/self/fd/0"),
    features: $LOADED_FEATURES.grep(/function\\.rb/),
    trained: defined?(Trained),
    gems: Gem.path.first,
    child: IO.popen(%w[ruby -e] + ['require "json"; print ENV["OWN"].to_json'], &:read),
    zone: Time.at(0).zone,
  }
end`
    const task = stack.use(await openFiles({ "function.rb": code }))
    const waiting = stack.use(
      await startRuntime(
        disks,
        { port: 0 },
        { env: { LAMBDA_TASK_ROOT: task.path, _TORPOR_WAITING: "1", OLD: "gone" } },
      ),
    )
    const { program, drive, PATH } = waiting
    const tell = (port: number, root: string, named: string, isTraining: boolean, more = {}) => {
      const told = {
        ...FUNCTION_ENV,
        PATH,
        LD_LIBRARY_PATH: `${drive}/lang/lib`,
        LAMBDA_RUNTIME_DIR: `${drive}/runtime`,
        LAMBDA_TASK_ROOT: root,
        ...more,
        _HANDLER: named,
        AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${port}`,
      }
      program.tell(JSON.stringify({ env: told, cwd: root, isTraining }))
      return told
    }
    for (const named of LANGUAGES.ruby.trainings) {
      await using api = await openApi()
      tell(api.port, `${drive}/files`, named, true)
      for (let n = 0; n < 2; n++) {
        const answer = api.invoke(eventOf({ n }, { requestId: "training", traceId: "training" }))
        const { response } = await Promise.race([resultOf(answer), program.closed.then(() => ({ response: "" }))])
        expect(JSON.parse(response || "{}"), program.said.stderr).toMatchObject({ statusCode: 200 })
        await answer.settled
      }
    }
    await expect.poll(() => program.said.stdout).toMatch(/^(?:I, .* training -- : event .*\nleft \d+\n){2}$/)
    program.said.stdout = ""
    await using api = await openApi()
    const env = tell(api.port, task.path, "function.handler", false, {
      OWN: "mine",
      GEM_PATH: "/own/gems",
      TZ: ":Europe/Berlin",
    })
    const { response } = await resultOf(api.invoke(eventOf({})))
    expect(JSON.parse(response), program.said.stderr).toEqual({
      env,
      cwd: task.path,
      stdin: "",
      links: "/dev/null",
      features: [`${task.path}/function.rb`],
      trained: null,
      gems: "/own/gems",
      child: '"mine"',
      zone: "CET",
    })
    expect(program.said).toEqual({ stdout: "loaded\n", stderr: "" })

    const alone = stack.use(await startRuntime(disks, { port: 0 }, { env: { _TORPOR_WAITING: "1" } }))
    alone.program.leave()
    expect(await alone.program.closed).toEqual([0, null])
  })
})
