/**
 * More than anybody should ask for: a server without limits takes it all; at the edge what floods is refused or cut, and another MicroVM's
 * requests are all answered meanwhile.
 */
import { once } from "node:events"
import { createServer, get, type IncomingMessage, type Server } from "node:http"
import { createServer as createHttp2Server } from "node:http2"
import { connect, type Socket } from "node:net"
import { text } from "node:stream/consumers"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { eventually } from "../../fixtures/eventually.ts"
import type { EdgeLimits } from "../../../proxy/server.ts"
import { connectHttp2 } from "../protocols/http2-client.ts"
import { listen, openTestEdge, type TestEdge } from "../test-edge.ts"
import {
  block,
  CONTINUATION,
  END_HEADERS,
  END_STREAM,
  frame,
  GOAWAY,
  HEADERS,
  openHttp2Connection,
  openPlainHttp2Connection,
  PING,
  requestFields,
  RST_STREAM,
  SETTINGS,
  type Http2Connection,
} from "./frames.ts"
import { openNaiveHttp2, type NaiveHttp2 } from "./naive-http2.ts"

/** Answers all at once but what is asked to hang; a server without any limit is the careless one. */
let app: Server
let port: number
let asked = 0
beforeAll(async () => {
  app = createServer({ headersTimeout: 0, requestTimeout: 0, maxHeaderSize: 2 ** 20 }, (request, response) => {
    asked++
    if (request.url !== "/hang") response.end("ok")
  })
  app.maxHeadersCount = 0
  port = await listen(app)
})
afterAll(() => {
  app.closeAllConnections()
  app.close()
})

const REFUSED_STREAM = 7

const isClosed = (socket: Socket) => eventually(() => expect(socket.closed || socket.destroyed).toBe(true))
const others = async (edge: TestEdge) => {
  const vm = await edge.addVm()
  // One by one: it has the same limits.
  for (let count = 0; count < 20; count++) expect(await edge.get({ port, vm })).toMatchObject({ status: 200 })
}
/** While these are open, so many more of one MicroVM's are refused; another's are not. */
const refusals = async (edge: TestEdge, text_: string, status = 429) => {
  const answers = await Promise.all(Array.from({ length: 10 }, () => edge.get({ port })))
  for (const { status: got, body, headers } of answers)
    expect([got, body, headers["retry-after"]]).toEqual([status, text_, "1"])
}
/** So many requests that hang, to the careless one: it has begun with all of them. */
const hangNaively = async (count: number) => {
  const before = asked
  const requests = Array.from({ length: count }, () => get({ port, path: "/hang" }).on("error", () => {}))
  await eventually(() => expect(asked - before).toBe(count))
  for (const request of requests) request.destroy()
}
const hang = async (edge: TestEdge, count: number) => {
  const requests = Array.from({ length: count }, () =>
    edge
      .open({ port, path: "/hang" })
      .on("error", () => {})
      .end(),
  )
  await eventually(() => expect(edge.vm.activity.open).toBe(count))
  return () => requests.forEach((request) => request.destroy())
}

describe("Requests that stay open", () => {
  test.for<[whose: string, limits: Partial<EdgeLimits>, told: string]>([
    ["a MicroVM", { maxRequestsPerVm: 5 }, "Too many requests are open to this MicroVM"],
    ["a token", { maxRequestsPerToken: 5 }, "Too many requests are open with this token"],
    ["a MicroVM's connections", { maxConnectionsPerVm: 5 }, "Too many connections are open to this MicroVM"],
    ["a token's connections", { maxConnectionsPerToken: 5 }, "Too many connections are open with this token"],
  ])("up to the limit of %s are refused from there on, and another's answered", async ([, limits, told]) => {
    await hangNaively(15)
    await using edge = await openTestEdge(limits)
    const stop = await hang(edge, 5)
    await refusals(edge, told)
    if (!("maxConnectionsPerVm" in limits || "maxConnectionsPerToken" in limits)) await others(edge)
    stop()
    await eventually(() => expect(edge.vm.activity.open).toBe(0))
    // Their connections may be counted for a moment longer.
    await eventually(async () => expect(await edge.get({ port })).toMatchObject({ status: 200 }))
  })

  test("in all are the edge's own limit, and it says that it is", async () => {
    await hangNaively(15)
    await using edge = await openTestEdge({ maxRequests: 5 })
    const stop = await hang(edge, 5)
    await refusals(edge, "Too many requests are open to all MicroVMs together", 503)
    stop()
  })

  test("or come too fast are refused where a rate is set, and another's answered", async () => {
    await using edge = await openTestEdge({ requestsPerSecondPerVm: 1 })
    await using client = await connectHttp2(edge)
    const naively = await Promise.all(
      Array.from({ length: 100 }, async () => {
        const [response] = (await once(get({ port }), "response")) as [IncomingMessage]
        return response.resume().statusCode
      }),
    )
    expect(new Set(naively)).toEqual(new Set([200]))
    const answers = await Promise.all(Array.from({ length: 100 }, () => client.get(port)))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200, 429]))
    expect(await edge.get({ port, vm: await edge.addVm() })).toMatchObject({ status: 200 })
  })

  test("one behind the other on one connection are no more than on many", async () => {
    await using edge = await openTestEdge({ maxRequestsPerVm: 5 })
    let before = asked
    const naive = connect(port, "127.0.0.1").on("error", () => {})
    naive.write("GET /hang HTTP/1.1\r\nHost: x\r\n\r\n".repeat(200))
    await eventually(() => expect(asked - before).toBe(200))
    naive.destroy()
    before = asked
    const socket = await edge.raw()
    socket.write(edge.head("GET /hang", port).repeat(200))
    await eventually(() => expect(asked - before).toBe(5))
    await others(edge)
    expect(edge.vm.activity.open).toBe(5)
    socket.destroy()
  })
})

describe("A connection", () => {
  test("without an end to its headers, a beginning of them, or a handshake, is kept by a careless server and closed by the edge", async () => {
    const [slow, silent] = [connect(port, "127.0.0.1"), connect(port, "127.0.0.1")]
    slow.on("error", () => {}).write("GET / HTTP/1.1\r\nX: ")
    silent.on("error", () => {})
    const carelessHttp2 = createHttp2Server()
    const quiet = await openPlainHttp2Connection(await listen(carelessHttp2))
    await using edge = await openTestEdge({
      headersTimeoutSeconds: 3,
      handshakeTimeoutSeconds: 3,
      idleTimeoutSeconds: 3,
    })
    const loris = await edge.raw()
    loris.write("GET / HTTP/1.1\r\nX: ")
    const drip = setInterval(() => [loris, slow].forEach((socket) => socket.writable && socket.write("y")), 50)
    const shy = connect(edge.edge.port, "127.0.0.1").on("error", () => {})
    const mute = await edge.raw()
    const kept = await edge.raw()
    kept.write(edge.head("GET /", port))
    expect(String(await once(kept, "data"))).toMatch(/^HTTP\/1.1 200 [^]*keep-alive: timeout=3\r\n/i)
    const idle = await openHttp2Connection(edge)
    const ping = setInterval(
      () => [idle, quiet].forEach((socket) => socket.writable && socket.write(frame(PING, 0, 0, "12345678"))),
      50,
    )
    for (const socket of [loris, shy, mute, kept, idle]) {
      socket.resume()
      await isClosed(socket)
    }
    expect([slow, silent, quiet].map(({ readyState }) => readyState)).toEqual(["open", "open", "open"])
    clearInterval(drip)
    clearInterval(ping)
    for (const socket of [slow, silent, quiet]) socket.destroy()
    carelessHttp2.close()
  })

  test.for([
    ["an endless URL", `GET /${"x".repeat(40_000)}`, []],
    ["an endless header", "GET /", [`X: ${"x".repeat(40_000)}`]],
    ["headers without number", "GET /", Array.from({ length: 5000 }, (_, index) => `X-${index}: y`)],
  ] as const)("with %s is refused, which a careless server takes", async ([, line, fields]) => {
    await using edge = await openTestEdge()
    const before = asked
    const naive = connect(port, "127.0.0.1").setEncoding("latin1")
    naive.write([`${line} HTTP/1.1`, "Host: x", "Connection: close", ...fields, "\r\n"].join("\r\n"))
    expect(await text(naive)).toMatch(/^HTTP\/1.1 200 /)
    const socket = await edge.raw()
    socket.setEncoding("latin1").write(edge.head(line, port, "Connection: close", ...fields))
    expect(await text(socket)).toMatch(/^HTTP\/1.1 431 /)
    expect(asked).toBe(before + 1)
  })

  test("of a stranger makes way for others, one in use does not: a careless limit keeps strangers in and everybody else out", async () => {
    const careless = createServer((_, response) => response.end())
    careless.maxConnections = 10
    const to = { host: "127.0.0.1", port: await listen(careless) }
    const inTheWay = Array.from({ length: 10 }, () => connect(to))
    await Promise.all(inTheWay.map((socket) => once(socket, "connect")))
    await expect(once(get(to), "response")).rejects.toThrow()
    for (const socket of inTheWay) socket.destroy()
    careless.close()
    await using edge = await openTestEdge({ maxConnections: 10 })
    const used = edge
      .open({ port, path: "/hang" })
      .on("error", () => {})
      .end()
    await eventually(() => expect(edge.vm.activity.open).toBe(1))
    const strangers = Array.from({ length: 30 }, () => connect(edge.edge.port, "127.0.0.1").on("error", () => {}))
    await eventually(() => expect(strangers.filter(({ closed }) => closed).length).toBeGreaterThanOrEqual(21))
    expect(await edge.get({ port, vm: await edge.addVm() })).toMatchObject({ status: 200 })
    expect(edge.vm.activity.open).toBe(1)
    used.destroy()
    for (const stranger of strangers) stranger.destroy()
  })
})

describe("HTTP/2", () => {
  const stop = (socket: Http2Connection) =>
    eventually(() => expect(socket.destroyed || socket.frames.some(({ type }) => type === GOAWAY)).toBe(true))

  const [ROUNDS, MAX_ROUNDS] = [2000, 20_000]
  test.for<[what: string, send: (edge: TestEdge, round: number) => Buffer[], taken: Partial<NaiveHttp2["taken"]>]>([
    [
      "requests taken back as soon as they are made",
      (edge, round) => [
        frame(HEADERS, END_HEADERS | END_STREAM, 2 * round + 1, block(requestFields(edge, port, [[":path", "/hang"]]))),
        frame(RST_STREAM, 0, 2 * round + 1, Buffer.from([0, 0, 0, 8])),
      ],
      { requests: ROUNDS },
    ],
    [
      "headers that go on and on",
      (edge, round) => [
        round === 0
          ? frame(HEADERS, END_STREAM, 1, block(requestFields(edge, port)))
          : frame(CONTINUATION, 0, 1, block([["x", "y".repeat(1000)]])),
      ],
      { requests: 0, headerBytes: expect.toSatisfy((bytes: number) => bytes > 1000 * (ROUNDS - 1)) },
    ],
    [
      "a settings frame of many",
      () => [frame(SETTINGS, 0, 0, Buffer.alloc(6 * 1000, Buffer.from([0, 4, 0, 0, 0, 1])))],
      { settings: 1000 * ROUNDS },
    ],
  ])("floods of %s end their connection, and another's requests are answered", async ([, send, taken]) => {
    await using edge = await openTestEdge({ maxRequestsPerVm: 50 })
    await using naive = await openNaiveHttp2()
    const willing = await openPlainHttp2Connection(naive.port)
    for (let round = 0; round < ROUNDS; round++)
      for (const bytes of send(edge, round)) if (!willing.write(bytes)) await once(willing, "drain")
    await eventually(() => expect(naive.taken).toMatchObject(taken))
    willing.destroy()
    const socket = await openHttp2Connection(edge)
    const before = asked
    const over = stop(socket)
    // What it is answered isn't read: it would have to be kept.
    for (
      let round = 0;
      round < MAX_ROUNDS && !socket.destroyed && !socket.frames.some(({ type }) => type === GOAWAY);
      round++
    ) {
      for (const bytes of send(edge, round)) socket.write(bytes)
      if (round % 50 === 0) await new Promise(setImmediate)
    }
    await over
    await others(edge)
    expect(asked - before).toBeLessThan(1000)
    socket.destroy()
    await eventually(() => expect(edge.vm.activity.open).toBe(0))
  })

  test("has so many streams at once on a connection and no more", async () => {
    await using edge = await openTestEdge({ maxRequestsPerVm: 1000 })
    const socket = await openHttp2Connection(edge)
    const before = asked
    const headers = block(requestFields(edge, port, [[":path", "/hang"]]))
    for (let stream = 1; stream < 2 * 150; stream += 2)
      socket.write(frame(HEADERS, END_HEADERS | END_STREAM, stream, headers))
    await eventually(() => {
      expect(socket.frames.filter(({ type, code }) => type === RST_STREAM && code === REFUSED_STREAM)).toHaveLength(22)
      expect(asked - before).toBe(128)
    })
    socket.destroy()
    await eventually(() => expect(edge.vm.activity.open).toBe(0))
  })

  test("opens no more streams than the edge allows, and a MicroVM's limit is for all of them", async () => {
    await using edge = await openTestEdge({ maxRequestsPerVm: 5 })
    const headers = block(requestFields(edge, port, [[":path", "/hang"]]))
    const openMany = (socket: Http2Connection) => {
      for (let stream = 1; stream < 400; stream += 2)
        socket.write(frame(HEADERS, END_HEADERS | END_STREAM, stream, headers))
    }
    {
      await using naive = await openNaiveHttp2()
      const willing = await openPlainHttp2Connection(naive.port)
      openMany(willing)
      await eventually(() => expect(naive.taken.requests).toBe(200))
      willing.destroy()
    }
    const socket = await openHttp2Connection(edge)
    const before = asked
    openMany(socket)
    await eventually(() => expect(new Set(socket.frames.map(({ stream }) => stream)).size).toBeGreaterThan(100))
    // What is refused is answered by the edge alone, and may be so before the application has heard of the others.
    await eventually(() => expect(asked - before).toBe(5))
    await others(edge)
    expect([asked - before, edge.vm.activity.open]).toEqual([25, 5])
    socket.destroy()
    await once(socket, "close")
  })
})
