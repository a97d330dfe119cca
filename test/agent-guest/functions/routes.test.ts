import { once } from "node:events"
import { connect, type ClientHttp2Session } from "node:http2"
import type { AddressInfo } from "node:net"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { createFunctionRoutes } from "../../../images/agent/functions/routes.ts"
import { createRouteServer } from "../../../images/agent/route-server.ts"
import { framesOf, parseFailureContent, toEventFrame, toFrame } from "../../../src/agent/answer-frames.ts"
import { createChildProcesses, toSpec } from "./child-processes.ts"
import { freePort } from "./program.ts"

/** The agent's own routes, asked as the host asks them. */
let host: ClientHttp2Session
let port: number
let stop: () => Promise<void>

beforeEach(async () => {
  port = await freePort()
  const server = createRouteServer(
    createFunctionRoutes(createChildProcesses(), { address: "127.0.0.1", port }),
    () => true,
  )
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  host = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  stop = async () => {
    await ask("DELETE", "/function?reason=FAILURE")
    host.destroy()
    server.close()
  }
})
afterEach(() => stop())

const open = (method: string, path: string, body?: Buffer, headers = {}) => {
  const stream = host.request({ ":method": method, ":path": path, ...headers }, { endStream: body === undefined })
  if (body !== undefined) stream.end(body)
  return stream
}
const ask = async (method: string, path: string, body?: unknown) => {
  const stream = open(method, path, body === undefined ? undefined : Buffer.from(JSON.stringify(body)))
  let text = ""
  for await (const chunk of stream.setEncoding("utf8")) text += chunk as string
  return JSON.parse(text) as unknown
}
/** As the host does it, but on a stream of its own, which ends with the answer. */
const invoke = (payload: Buffer, spec = {}) => {
  const whole = { requestId: "r", deadlineMs: 1, functionArn: "arn", mode: "buffered", sentAt: Date.now(), ...spec }
  const stream = host.request({ ":method": "POST", ":path": "/function/events" }, { endStream: false })
  stream.write(toEventFrame(JSON.stringify(whole), payload))
  return stream
}
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
const begin = () =>
  ask("PUT", "/function", {
    identity: { functionName: "f", functionVersion: "1", handler: "h", accountId: "0" },
    initializationType: "on-demand",
    runtime: toSpec(RUNTIME),
  })
const kindsOf = async (stream: AsyncIterable<Buffer>) => {
  const kinds: string[] = []
  for await (const { kind } of framesOf(stream)) {
    kinds.push(kind)
    if (kind === "settled") break
  }
  return kinds
}
const failureOf = async (stream: AsyncIterable<Buffer>) => {
  for await (const { kind, content } of framesOf(stream)) {
    if (kind !== "failure") continue
    const { errorType, body } = parseFailureContent(content)
    return [errorType, JSON.parse(String(body)) as unknown]
  }
  return undefined
}

describe("The host", () => {
  test("begins a function, invokes it, and hears head, bytes, end and that it may freeze", async () => {
    expect(await ask("GET", "/function/initialised")).toEqual({ message: "There is no function here" })
    expect(await begin()).toEqual({})
    expect(await begin()).toEqual({ message: "There is a function already" })
    expect(await ask("GET", "/function/initialised")).toEqual({ failed: null, hasExtensions: false })
    const large = Buffer.alloc(6_000_000, "y")
    const frames = framesOf(invoke(large))
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
    expect(await failureOf(invoke(Buffer.from("fail")))).toEqual(["Function.Broken", { errorType: "E" }])
  })

  test("ends an invocation whose time is over, ends the programs, and begins another life", async () => {
    await begin()
    const late = failureOf(invoke(Buffer.from("hang")))
    await ask("GET", "/function/initialised")
    await ask("POST", "/function/failure", { errorType: "Sandbox.Timedout", errorMessage: "Task timed out" })
    const words = { errorType: "Sandbox.Timedout", errorMessage: "Task timed out" }
    expect(await late).toEqual(["Sandbox.Timedout", words])
    expect(await ask("DELETE", "/function?reason=BOREDOM")).toEqual({
      message: "reason: one of SPINDOWN, TIMEOUT, FAILURE is expected",
    })
    expect(await ask("DELETE", "/function?reason=TIMEOUT")).toEqual({})
    await begin()
    expect(await kindsOf(invoke(Buffer.from("1")))).toEqual(["head", "data", "done", "settled"])
    expect(await failureOf(invoke(Buffer.from("exit")))).toEqual([
      "Runtime.ExitError",
      { errorType: "Runtime.ExitError", errorMessage: "RequestId: r Error: Runtime exited with error: exit status 3" },
    ])
    expect(await ask("DELETE", "/function?reason=FAILURE")).toEqual({})
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
      toFrame("head", Buffer.from("{}")),
      toFrame("data", Buffer.from("abc")),
      toFrame("done"),
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
