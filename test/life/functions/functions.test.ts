/** Functions as people have them, deployed and invoked by the unmodified SDK, in environments that are real virtual machines. */
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { CloudWatchLogsClient, FilterLogEventsCommand } from "@aws-sdk/client-cloudwatch-logs"
import {
  AddPermissionCommand,
  CreateFunctionUrlConfigCommand,
  DeleteFunctionConcurrencyCommand,
  DeleteProvisionedConcurrencyConfigCommand,
  GetProvisionedConcurrencyConfigCommand,
  InvokeCommand,
  InvokeWithResponseStreamCommand,
  PublishVersionCommand,
  PutFunctionConcurrencyCommand,
  PutProvisionedConcurrencyConfigCommand,
  type InvokeWithResponseStreamResponseEvent,
  type LambdaClient,
} from "@aws-sdk/client-lambda"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { createEndpoint } from "../../../src/cli/endpoint.ts"
import { processesOf, startTestDaemon, type TestDaemon } from "../../fixtures/daemon.ts"
import { bundleOf } from "../../agent-guest/functions/bundle.ts"
import { connectionOf, deploy, invoke, openLambda, publishLayer, type Answer } from "../../fixtures/functions.ts"
import { compile, ricFiles } from "./code.ts"
import { C_BOOTSTRAP, EXTENSION, NODE, PYTHON, SHELL_BOOTSTRAP, STREAM, UNRULY } from "./handlers.ts"

const all = process.env["TORPOR_TEST_ALL"] === "1"

const opened = new AsyncDisposableStack()
let daemon: TestDaemon
let lambda: LambdaClient
beforeAll(async () => {
  // AWS's ten seconds are too few for a guest that is emulated on a busy machine.
  daemon = opened.use(await startTestDaemon({}, { environments: { initSeconds: 120 } }))
  lambda = await openLambda(daemon)
  opened.defer(() => lambda.destroy())
  const layers = await Promise.all([
    publishLayer(lambda, "words", { "python/words.py": 'GREETING = "first"\nNAME = "layer"\n' }),
    publishLayer(lambda, "better-words", { "python/words.py": 'GREETING = "hello"\nNAME = "layer"\n' }),
  ])
  const watching = await publishLayer(lambda, "watcher", { "extensions/watcher": EXTENSION })
  // Equal code is one disk.
  const inNode = {
    "node.mjs": NODE,
    "stream.mjs": STREAM,
    "unruly.mjs": UNRULY,
    "outside.mjs": await bundleOf("outside-function.ts"),
  }
  const more = { Timeout: 15, Environment: { Variables: { GREETING: "hello" } } }
  await Promise.all([
    deploy(lambda, "node", "nodejs24.x", inNode, { ...more, Handler: "node.handler" }),
    deploy(lambda, "outside", "nodejs24.x", inNode, { ...more, Handler: "outside.handler" }),
    deploy(lambda, "stream", "nodejs24.x", inNode, { ...more, Timeout: 30, Handler: "stream.handler" }),
    deploy(lambda, "unruly", "nodejs24.x", inNode, { ...more, Timeout: 120, Handler: "unruly.handler" }),
    deploy(lambda, "python", "python3.13", { "app.py": PYTHON }, { ...more, Handler: "app.handler", Layers: layers }),
    // To eat all of its memory takes an emulated shell about as long as the others have.
    deploy(
      lambda,
      "shell",
      "provided.al2023",
      { bootstrap: SHELL_BOOTSTRAP },
      { ...more, Timeout: 120, Layers: [watching] },
    ),
    deploy(lambda, "compiled", "provided.al2023", { bootstrap: await compile(C_BOOTSTRAP) }, more),
    ...(all ? [deploy(lambda, "ric", "provided.al2023", await ricFiles(), more)] : []),
  ])
})
afterAll(() => opened.disposeAsync())

describe("A function of", () => {
  test("Node has its event, context and variables, and its memory from one event to the next", async () => {
    const cold = await invoke(lambda, "node", { name: "ada" })
    expect(cold).toMatchObject({
      status: 200,
      version: "$LATEST",
      error: undefined,
      payload: { greeting: "hello ada", count: 1, name: "node", memory: "128", uid: 993, directory: "/var/task" },
    })
    expect(cold.log).toMatch(/^START RequestId: \S+ Version: \$LATEST\n.*\tINFO\tgreeting ada\nEND RequestId: \S+\n/m)
    expect(cold.log).toMatch(
      /^REPORT RequestId: \S+\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB\tMax Memory Used: \d+ MB\tInit Duration: [\d.]+ ms\t$/m,
    )
    const warm = await invoke(lambda, "node", { name: "eve" })
    expect(warm.payload).toMatchObject({ count: 2, id: (cold.payload as { id: string }).id })
    expect(warm.log).not.toContain("Init Duration")
    const { remaining } = warm.payload as { remaining: number }
    expect(remaining).toBeGreaterThan(0)
    expect(remaining).toBeLessThanOrEqual(15_000)
  })

  test("one environment at most answers a caller who waits for each answer", async () => {
    await lambda.send(new PutFunctionConcurrencyCommand({ FunctionName: "node", ReservedConcurrentExecutions: 1 }))
    // Without the log's end, which would be waited for behind the answer.
    for (const name of ["one", "two", "three", "four"]) {
      const Payload = JSON.stringify({ name })
      const answer = await lambda.send(new InvokeCommand({ FunctionName: "node", Payload }))
      expect(Buffer.from(answer.Payload ?? []).toString()).toContain(`hello ${name}`)
    }
    await lambda.send(new DeleteFunctionConcurrencyCommand({ FunctionName: "node" }))
  })

  test("Python imports what its layers have, the later one's before the earlier one's", async () => {
    const { payload, log } = await invoke(lambda, "python", { n: 20 })
    expect(payload, log).toEqual({ said: "hello from a layer", twice: 40, writable: false, temporary: true })
    expect((await invoke(lambda, "python", { fail: true })).payload).toMatchObject({
      errorType: "ZeroDivisionError",
      errorMessage: "division by zero",
    })
  })

  test("a shell script works as a runtime, watched by an extension", async () => {
    const { payload, log } = await invoke(lambda, "shell", { text: "as it is" })
    expect(payload, log).toEqual({ text: "as it is" })
    expect(log).toContain("extension: INVOKE")
    expect((await invoke(lambda, "shell", [2])).payload).toEqual([2])
  })

  test("a runtime and an extension have the function's memory together", async () => {
    const { payload, log } = await invoke(lambda, "shell", { do: "eat" })
    expect(payload, log).toMatchObject({ errorType: "Runtime.ExitError" })
    expect((await invoke(lambda, "shell", [3])).payload).toEqual([3])
  })

  test("C, compiled to one static program, works as a runtime", async () => {
    const { payload, log } = await invoke(lambda, "compiled", { n: 1 })
    expect(payload, log).toEqual({ length: 7 })
  })

  test("packages that are made for Lambda work as they are", async () => {
    const { payload, log } = await invoke(lambda, "outside", { name: "ada" })
    expect(payload, log).toEqual({ greeting: "hello ada" })
    expect(log).toContain('"service":"outside"')
  })

  test("AWS's own runtime client is one like any other", async ({ skip }) => {
    skip(!all, "its code runs in test/agent-guest/functions too: TORPOR_TEST_ALL=1 has it in a VM")
    const { payload, log } = await invoke(lambda, "ric", { do: "echo", n: 1 })
    expect(payload, log).toEqual({ do: "echo", n: 1 })
    expect((await invoke(lambda, "ric", { do: "fail" })).payload).toMatchObject({ errorType: "RangeError" })
  })
})

const streamOf = async (event: unknown) => {
  const { EventStream } = await lambda.send(
    new InvokeWithResponseStreamCommand({ FunctionName: "stream", Payload: JSON.stringify(event) }),
  )
  const chunks: Buffer[] = []
  let complete: { ErrorCode?: string | undefined; ErrorDetails?: string | undefined } | undefined
  for await (const { PayloadChunk, InvokeComplete } of EventStream ?? []) {
    if (PayloadChunk?.Payload !== undefined) chunks.push(Buffer.from(PayloadChunk.Payload))
    complete ??= InvokeComplete
  }
  return { body: Buffer.concat(chunks), pieces: chunks.length, complete }
}

describe("A response that streams", () => {
  test("comes as it is written, whole, and tells of a failure midway", async () => {
    const whole = await streamOf({ bytes: 2 ** 20 })
    expect(whole.body.length).toBe(2 ** 20)
    expect(whole.pieces).toBeGreaterThan(1)
    expect(whole.complete?.ErrorCode).toBeUndefined()
    const failed = await streamOf({ bytes: 10, fail: true })
    expect(failed.body.toString()).toBe("x".repeat(10))
    expect(failed.complete).toMatchObject({ ErrorCode: "Unhandled", ErrorDetails: expect.stringContaining("midway") })
  })
})

describe("Environments", () => {
  test("have one event at a time: two at once never meet", async () => {
    const answers = await Promise.all([1, 2, 3].map(() => invoke(lambda, "node", { name: "at once", sleepMs: 500 })))
    for (const { payload } of answers) expect(payload).toMatchObject({ meanwhile: 0 })
    // One that has begun, and is at it until its time is over.
    const { EventStream } = await lambda.send(
      new InvokeWithResponseStreamCommand({ FunctionName: "stream", Payload: JSON.stringify({ hold: 600_000 }) }),
    )
    for await (const { PayloadChunk } of EventStream ?? []) {
      const busy = Buffer.from(PayloadChunk?.Payload ?? []).toString()
      const beside = (await streamOf({ hold: 0 })).body.toString()
      expect([busy, beside]).toEqual([expect.stringMatching(/^[\da-f-]{36}$/), expect.stringMatching(/^[\da-f-]{36}$/)])
      expect(beside).not.toBe(busy)
      break
    }
  })

  test("of one that never returns are reset at its limit, and the next event works", async () => {
    const before = await invoke(lambda, "node", { name: "before" })
    const { error, payload, log } = await invoke(lambda, "node", { name: "for ever", sleepMs: 600_000 })
    expect({ error, payload }, log).toMatchObject({
      error: "Unhandled",
      payload: {
        errorType: "Sandbox.Timedout",
        errorMessage: expect.stringMatching(/^RequestId: \S+ Error: Task timed out after 15\.00 seconds$/),
      },
    })
    expect(log).toContain("Status: timeout")
    const after = await invoke(lambda, "node", { name: "after" })
    expect(after).toMatchObject({ error: undefined, payload: { greeting: "hello after" } })
    // Whichever was reset, its memory is gone.
    expect((after.payload as { id: string }).id).not.toBe((before.payload as { id: string }).id)
  })

  test.for([
    ["exits", { do: "exit", code: 3 }, "Runtime.ExitError", /Runtime exited with error: exit status 3$/],
    ["eats memory", { do: "eat" }, "Runtime.ExitError", /Runtime exited with error: signal: killed$/],
    ["forks without end", { do: "fork" }, "Runtime.ExitError", /Runtime exited with error: signal: killed$/],
    ["answers 7 MB", { do: "answer", bytes: 7 * 2 ** 20 }, "Function.ResponseSizeTooLarge", /6291556 bytes/],
    ["throws", { do: "throw" }, "TypeError", /^asked to$/],
  ] as const)("of one that %s tell so, and the next event works", async ([, event, errorType, message]) => {
    const { error, payload, log } = await invoke(lambda, "unruly", event)
    expect({ error, payload }, log).toMatchObject({
      error: "Unhandled",
      payload: { errorType, errorMessage: expect.stringMatching(message) },
    })
    expect(await invoke(lambda, "unruly", { do: "answer", bytes: 3 })).toMatchObject({
      error: undefined,
      payload: "xxx",
    })
  })

  test.for([
    ["floods its log", { do: "flood" }, { lines: 200_000 }],
    ["fills /tmp", { do: "fill" }, { code: "ENOSPC", mebibytes: 512 }],
  ] as const)("of one that %s meet a limit, and the next event works", async ([, event, found]) => {
    const { payload, log } = await invoke(lambda, "unruly", event)
    if ("mebibytes" in found) {
      const { code, mebibytes } = payload as { code: string; mebibytes: number }
      expect(code, log).toBe("ENOSPC")
      expect(Math.abs(mebibytes - found.mebibytes)).toBeLessThan(16)
    } else expect(payload, log).toEqual(found)
    expect(await invoke(lambda, "unruly", { do: "answer", bytes: 3 })).toMatchObject({
      error: undefined,
      payload: "xxx",
    })
  })
})

describe("A function's URL", () => {
  /** What anybody is answered there. */
  const open = async (name: string, mode: "BUFFERED" | "RESPONSE_STREAM") => {
    const { FunctionUrl = "" } = await lambda.send(
      new CreateFunctionUrlConfigCommand({ FunctionName: name, AuthType: "NONE", InvokeMode: mode }),
    )
    const anybody = { FunctionName: name, Principal: "*" }
    for (const statement of [
      { StatementId: "url", Action: "lambda:InvokeFunctionUrl", FunctionUrlAuthType: "NONE" },
      { StatementId: "invoke", Action: "lambda:InvokeFunction", InvokedViaFunctionUrl: true },
    ] as const)
      await lambda.send(new AddPermissionCommand({ ...anybody, ...statement }))
    return createEndpoint(new URL(FunctionUrl).host, undefined, daemon.ca)
  }

  test("answers with what its handler returns", async () => {
    const endpoint = await open("node", "BUFFERED")
    try {
      const { status, headers, body } = await endpoint.get("/path?name=ada")
      expect({ status, type: headers["content-type"] }, body).toEqual({ status: 200, type: "application/json" })
      expect(JSON.parse(body)).toMatchObject({ name: "node", memory: "128" })
    } finally {
      endpoint.close()
    }
  })

  test("streams what its handler writes", async () => {
    const endpoint = await open("stream", "RESPONSE_STREAM")
    try {
      const { status, headers, body } = await endpoint.get("/?bytes=300000")
      expect({ status, answer: headers["x-answer"] }, body.slice(0, 300)).toEqual({ status: 201, answer: "streamed" })
      expect(body.length).toBe(300_000)
    } finally {
      endpoint.close()
    }
  })
})

describe("Provisioned concurrency", () => {
  test("is a VM that is initialised before its first event, and over when it is given back", async () => {
    const { Version: Qualifier = "" } = await lambda.send(new PublishVersionCommand({ FunctionName: "node" }))
    const version = { FunctionName: "node", Qualifier }
    await lambda.send(new PutProvisionedConcurrencyConfigCommand({ ...version, ProvisionedConcurrentExecutions: 1 }))
    await expect
      .poll(() => lambda.send(new GetProvisionedConcurrencyConfigCommand(version)), { timeout: 300_000 })
      .toMatchObject({
        Status: "READY",
        AllocatedProvisionedConcurrentExecutions: 1,
        AvailableProvisionedConcurrentExecutions: 1,
      })
    const { payload, log } = await invoke(lambda, "node", { name: "ada" }, { Qualifier })
    expect(payload, log).toMatchObject({ count: 1, initialization: "provisioned-concurrency" })
    expect(log).toContain("REPORT")
    expect(log).not.toContain("Init Duration")
    await lambda.send(new DeleteProvisionedConcurrencyConfigCommand(version))
    const over = ['"state":"TERMINATED"', '"reason":"It is provisioned no more"']
    await expect.poll(() => daemon.lines.some((line) => over.every((words) => line.includes(words)))).toBe(true)
  })
})

describe("A crash", () => {
  /** An event that is at work when it resolves, and how its caller hears of its end: that of success is nothing. */
  const hold = async (ms = 600_000): Promise<{ id: string; end: Promise<unknown> }> => {
    const { EventStream } = await lambda.send(
      new InvokeWithResponseStreamCommand({ FunctionName: "stream", Payload: JSON.stringify({ hold: ms }) }),
    )
    const frames = (EventStream ?? noFrames())[Symbol.asyncIterator]()
    const { value } = await frames.next()
    const rest = async () => {
      for (;;) {
        const { value: frame, done } = await frames.next()
        if (done === true) return "ended without a word"
        if (frame.InvokeComplete !== undefined) return frame.InvokeComplete.ErrorDetails
      }
    }
    return {
      id: Buffer.from(value?.PayloadChunk?.Payload ?? []).toString(),
      end: rest().catch((error: Error) => error),
    }
  }

  test("of an environment's VM is told to its caller, and the next event has another", async () => {
    const { id, end } = await hold()
    for (const pid of processesOf(daemon.hostId.slice(0, 8))) process.kill(pid, "SIGKILL")
    expect(await end).toContain("Runtime.ExitError")
    const next = (await streamOf({ hold: 0 })).body.toString()
    expect(next).toMatch(/^[\da-f-]{36}$/)
    expect(next).not.toBe(id)
  })

  test("of Postgres is nothing to the event that is at work, and the next one works", async () => {
    const { end } = await hold(3000)
    const file = join(daemon.directory, "postgres/postmaster.pid")
    process.kill(Number((await readFile(file, "utf8")).split("\n")[0]), "SIGKILL")
    expect(await end).toBeUndefined()
    const next = () => streamOf({ bytes: 3 }).then(({ body }) => body.toString())
    await expect.poll(() => next().catch((error: Error) => error.message), { timeout: 300_000 }).toBe("xxx")
  })

  test("of the daemon ends what was at an event, with its caller; what was frozen goes on, and no accepted event is lost", async () => {
    // The only one there is.
    const before = await invoke(lambda, "node", { name: "before" })
    const { end } = await hold()
    for (let event = 1; event <= 3; event++)
      await invoke(lambda, "outside", { name: `asynchronous ${event}` }, { InvocationType: "Event", LogType: "None" })
    await daemon.restart("SIGKILL")
    expect(await end).toBeInstanceOf(Error)
    lambda.destroy()
    lambda = await openLambda(daemon)
    const after = await invoke(lambda, "node", { name: "after" })
    const seen = (answer: Answer) => answer.payload as { id: string; count: number }
    expect(seen(after).id).toBe(seen(before).id)
    expect(seen(after).count).toBeGreaterThan(seen(before).count)
    const logs = new CloudWatchLogsClient(await connectionOf(daemon))
    try {
      const seenEvents = async () => {
        const { events } = await logs.send(
          new FilterLogEventsCommand({ logGroupName: "/aws/lambda/outside", filterPattern: "asynchronous" }),
        )
        return new Set(events?.map(({ message }) => /asynchronous \d/.exec(message ?? "")?.[0]))
      }
      await expect
        .poll(seenEvents, { timeout: 300_000 })
        .toEqual(new Set(["asynchronous 1", "asynchronous 2", "asynchronous 3"]))
    } finally {
      logs.destroy()
    }
  })
})

async function* noFrames(): AsyncGenerator<InvokeWithResponseStreamResponseEvent> {}
