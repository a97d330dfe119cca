import { once } from "node:events"
import { connect, type ClientHttp2Session } from "node:http2"
import { createServer, type AddressInfo } from "node:net"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { createFunctionRoutes } from "../../../images/agent/functions/routes.ts"
import { createRouteServer } from "../../../images/agent/route-server.ts"
import { framesOf, parseFailureContent, toFrame } from "../../../src/agent/answer-frames.ts"
import { INVOCATION_HEADER } from "../../../src/agent/version.ts"

/** The agent's own routes, asked as the host asks them. */
let host: ClientHttp2Session
let port: number
let stop: () => Promise<void>

const freePort = async () => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port: free } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return free
}

beforeEach(async () => {
  port = await freePort()
  const server = createRouteServer(createFunctionRoutes({ address: "127.0.0.1", port }), () => true)
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  host = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  stop = async () => {
    await ask("DELETE", "/function")
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
const invoke = (payload: Buffer, spec = {}) => {
  const whole = { requestId: "r", deadlineMs: 1, functionArn: "arn", mode: "buffered", ...spec }
  const header = Buffer.from(JSON.stringify(whole)).toString("base64url")
  return open("POST", "/function/invocation", payload, { [INVOCATION_HEADER]: header })
}
const identity = { functionName: "f", functionVersion: "1", handler: "h", accountId: "0" }
const next = () => fetch(`http://127.0.0.1:${port}/2018-06-01/runtime/invocation/next`)
const respond = (body: Buffer, what = "response", headers = {}) =>
  fetch(`http://127.0.0.1:${port}/2018-06-01/runtime/invocation/r/${what}`, { method: "POST", body, headers })

describe("The host", () => {
  test("opens a function's APIs, invokes, and hears head, bytes, end and that it may freeze, each when it is so", async () => {
    expect(await ask("GET", "/function/initialised")).toEqual({ message: "There is no function here" })
    await ask("PUT", "/function", { identity, extensions: [], initializationType: "on-demand" })
    expect(await ask("GET", "/function/registered")).toEqual({ failed: null })
    const first = next()
    expect(await ask("GET", "/function/initialised")).toEqual({ failed: null })
    const large = Buffer.alloc(6_291_556, "y")
    const frames = framesOf(invoke(large))
    expect((await (await first).arrayBuffer()).byteLength).toBe(large.length)
    await respond(large)
    const head = (await frames.next()).value
    expect([head?.kind, String(head?.content)]).toEqual([
      "head",
      JSON.stringify({ contentType: "application/json", isStreamed: false }),
    ])
    const data = (await frames.next()).value
    expect([data?.kind, data?.content.equals(large)]).toEqual(["data", true])
    expect((await frames.next()).value).toEqual({ kind: "done", content: Buffer.alloc(0) })
    // Only when the runtime asks again.
    const second = next()
    const settled = (await frames.next()).value
    expect(settled?.kind).toBe("settled")
    expect(JSON.parse(String(settled?.content))).toEqual({ durationMs: expect.any(Number) })

    const failing = framesOf(invoke(Buffer.from("2")))
    await second
    await respond(Buffer.from('{"errorType":"E"}'), "error", {
      "Lambda-Runtime-Function-Error-Type": "Function.Broken",
    })
    const failure = (await failing.next()).value
    expect(failure?.kind).toBe("failure")
    const { errorType, body } = parseFailureContent(failure?.content ?? Buffer.alloc(0))
    expect([errorType, String(body)]).toEqual(["Function.Broken", '{"errorType":"E"}'])
  })

  test("ends an invocation by saying why, and begins a new life on the same port", async () => {
    await ask("PUT", "/function", { identity, extensions: ["one"], initializationType: "on-demand" })
    const frames = framesOf(invoke(Buffer.from("1")))
    await ask("POST", "/function/failure", { errorType: "Runtime.ExitError", errorMessage: "it exited" })
    const failure = (await frames.next()).value
    const { body } = parseFailureContent(failure?.content ?? Buffer.alloc(0))
    expect(JSON.parse(String(body))).toEqual({ errorType: "Runtime.ExitError", errorMessage: "it exited" })
    expect((await frames.next()).value?.kind).toBe("settled")
    expect(await ask("GET", "/function/initialised")).toEqual({ failed: "Runtime.ExitError" })

    await ask("PUT", "/function", { identity, extensions: [], initializationType: "on-demand" })
    const given = next()
    const again = framesOf(invoke(Buffer.from("2")))
    expect(await (await given).text()).toBe("2")
    await respond(Buffer.from("3"))
    const kinds: string[] = []
    for (let n = 0; n < 3; n++) kinds.push((await again.next()).value?.kind ?? "")
    expect(kinds).toEqual(["head", "data", "done"])
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
