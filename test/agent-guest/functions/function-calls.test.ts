import { once } from "node:events"
import type { AddressInfo } from "node:net"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { createCallServer, type CallHandlers } from "../../../images/agent/call-server.ts"
import { createFunctionCalls } from "../../../images/agent/functions/function-calls.ts"
import { createAgentClient, type AgentClient } from "../../../src/agent/client.ts"
import { framesOf, parseFailureContent, toAnswerFrame, type AnswerFrame } from "../../../src/agent/event-frames.ts"
import type { InvocationSpec } from "../../../src/agent/protocol.ts"
import { createChildProcesses, toSpec } from "./child-processes.ts"
import { freePort } from "../../fixtures/free-port.ts"

const { signal } = new AbortController()

/** The agent's own calls of a function, called as the host does. */
let host: AgentClient
let marks: string[]
let stop: () => Promise<void>

beforeEach(async () => {
  const port = await freePort()
  marks = []
  const processes = createChildProcesses((mark) => marks.push(mark))
  const { handlers, serveEvents } = createFunctionCalls(processes, { address: "127.0.0.1", port })
  const server = createCallServer({
    // Of a function's there are all.
    handlers: handlers as CallHandlers,
    isSecret: (given) => given.equals(SECRET),
    serveEvents,
    takeOther: (connection) => void connection.destroy(),
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  host = createAgentClient("127.0.0.1", (server.address() as AddressInfo).port, SECRET)
  stop = async () => {
    await host.endFunction("FAILURE", signal)
    host.close()
    server.close()
  }
})
afterEach(() => stop())

const SECRET = Buffer.alloc(32, 7)
const EVENT: InvocationSpec = { requestId: "r", deadlineMs: 1, functionArn: "arn", mode: "buffered" }
const invoke = (payload: Buffer | string, spec = {}) =>
  host.invokeFunction({ ...EVENT, ...spec }, Buffer.from(payload), signal)

/** A runtime in shell; what it says is its function's log. */
const RUNTIME = `
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while event=$(curl -sS "$api/next"); do
  case $event in
    *fail*) curl -sS "$api/r/error" -d '{"errorType":"E"}' -H 'Lambda-Runtime-Function-Error-Type: Function.Broken' ;;
    *exit*) exit 3 ;;
    *hang*) sleep 1000 ;;
    *) printf %s "$event" | curl -sS "$api/r/response" --data-binary @- ;;
  esac > /dev/null
done`
const begin = (script = RUNTIME) =>
  host.startFunction(
    {
      identity: { functionName: "f", functionVersion: "1", handler: "h", accountId: "0" },
      initializationType: "on-demand",
      runtime: toSpec(script),
    },
    signal,
  )
const kindsOf = async (frames: AsyncIterable<AnswerFrame>) => {
  const kinds: string[] = []
  for await (const { kind } of frames) kinds.push(kind)
  return kinds
}
const failureOf = async (frames: AsyncIterable<AnswerFrame>) => {
  let failure: unknown[] | undefined
  for await (const { kind, content } of frames) {
    if (kind !== "failure") continue
    const { errorType, body } = parseFailureContent(content)
    failure = [errorType, JSON.parse(String(body)) as unknown]
  }
  return failure
}

describe("The host", () => {
  test("begins a function, invokes it, and hears head, bytes, end and that it may freeze", async () => {
    await expect(host.untilInitialised(signal)).rejects.toThrow("There is no function here")
    const begun = begin()
    // Asked at once, it waits for it.
    expect(await host.untilInitialised(signal)).toEqual({ failed: null, hasExtensions: false, hasSpoken: false })
    await begun
    await expect(begin()).rejects.toThrow("There is a function already")
    const large = Buffer.alloc(6 * 1024 ** 2, "y")
    // As long as AWS lets it be.
    const frames = invoke(large, { clientContext: JSON.stringify({ custom: { a: "x".repeat(3500) } }) })
    const head = (await frames.next()).value
    expect([head?.kind, String(head?.content)]).toEqual([
      "head",
      JSON.stringify({ contentType: "application/x-www-form-urlencoded", isStreamed: false }),
    ])
    const data = (await frames.next()).value
    expect([data?.kind, data?.content.equals(large)]).toEqual(["data", true])
    expect((await frames.next()).value).toEqual({ kind: "done", content: Buffer.alloc(0) })
    const settled = (await frames.next()).value
    expect([settled?.kind, JSON.parse(String(settled?.content))]).toEqual([
      "settled",
      { durationMs: expect.any(Number), isOver: false, maxMemoryBytes: expect.any(Number) },
    ])
    expect(await frames.next()).toEqual({ done: true, value: undefined })
    expect(await failureOf(invoke("fail"))).toEqual(["Function.Broken", { errorType: "E" }])
  })

  test("hears a mark behind what was said in an Init, and none where nothing was", async () => {
    await begin()
    expect(await host.untilInitialised(signal)).toMatchObject({ hasSpoken: false })
    expect(marks).toEqual([])
    await host.endFunction("SPINDOWN", signal)
    await begin(`echo words; ${RUNTIME}`)
    expect(await host.untilInitialised(signal)).toMatchObject({ hasSpoken: true })
    expect(marks).toEqual(["initialised"])
  })

  test("ends an invocation whose time is over, ends the programs, and begins another life", async () => {
    await begin()
    const late = failureOf(invoke("hang"))
    await host.untilInitialised(signal)
    const words = { errorType: "Sandbox.Timedout", errorMessage: "Task timed out" }
    await host.failFunction(words, signal)
    expect(await late).toEqual(["Sandbox.Timedout", words])
    await host.endFunction("TIMEOUT", signal)
    await begin()
    expect(await kindsOf(invoke("1"))).toEqual(["head", "data", "done", "settled"])
    expect(await failureOf(invoke("exit"))).toEqual([
      "Runtime.ExitError",
      { errorType: "Runtime.ExitError", errorMessage: "RequestId: r Error: Runtime exited with error: exit status 3" },
    ])
    await host.endFunction("FAILURE", signal)
  })
})

describe("An event", () => {
  test("that is given up is the guest's no more, and the next is served", async () => {
    await begin()
    const patience = new AbortController()
    const frames = host.invokeFunction(EVENT, Buffer.from("hang"), patience.signal)
    const first = frames.next()
    await host.untilInitialised(signal)
    patience.abort()
    await expect(first).rejects.toThrow("aborted")
    await host.endFunction("TIMEOUT", signal)
    await begin()
    expect(await kindsOf(invoke("1"))).toEqual(["head", "data", "done", "settled"])
  })

  test("that no function is there for ends without an answer", async () => {
    expect(await kindsOf(invoke("1"))).toEqual([])
  })
})

describe("An answer's frames", () => {
  const frames = async (...pieces: Buffer[]) => {
    const found: string[] = []
    const bytes = async function* () {
      yield* pieces
    }
    for await (const { kind, content } of framesOf(bytes())) found.push(`${kind} ${String(content)}`)
    return found
  }

  test("are found wherever the bytes are cut, and a piece of one is none", async () => {
    const bytes = Buffer.concat([
      toAnswerFrame("head", Buffer.from("{}")),
      toAnswerFrame("data", Buffer.from("abc")),
      toAnswerFrame("done"),
    ])
    const expected = ["head {}", "data abc", "done "]
    expect(await frames(bytes)).toEqual(expected)
    expect(await frames(...[...bytes].map((byte) => Buffer.of(byte)))).toEqual(expected)
    expect(await frames(bytes.subarray(0, -1))).toEqual(expected.slice(0, 2))
  })

  test("that are of no known kind, or longer than any answer, are refused before they are held", async () => {
    await expect(frames(Buffer.of(9, 0, 0, 0, 0))).rejects.toThrow("malformed")
    await expect(frames(Buffer.of(1, 255, 255, 255, 255))).rejects.toThrow("too large")
  })
})
