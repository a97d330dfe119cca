import { once } from "node:events"
import type { IncomingMessage } from "node:http"
import { connect, type Socket } from "node:net"
import { PassThrough } from "node:stream"
import { buffer, text } from "node:stream/consumers"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import * as ws from "ws"
import { eventually } from "../fixtures/eventually.ts"
import { carryFrames, closeFrame } from "../../proxy/guest/farewell.ts"
import { createFrames, isBetweenFrames, passFrames } from "../../proxy/guest/frames.ts"
import { connectHttp2 } from "./protocols/http2-client.ts"
import { openRawApp } from "./raw-app.ts"
import { openTestEdge } from "./test-edge.ts"

const { WebSocket, WebSocketServer } = ws
// Its types don't know it.
const { Sender } = ws as unknown as { Sender: { frame(payload: Buffer, options: object): Buffer[] } }

/** A frame as ws writes it. */
const frameOf = (payload: Buffer, mask: boolean): Buffer =>
  Buffer.concat(Sender.frame(payload, { fin: true, opcode: 2, rsv1: false, readOnly: false, mask }))

const frames = fc.array(fc.tuple(fc.oneof(fc.nat(130), fc.constantFrom(65_535, 65_536)), fc.boolean()), {
  minLength: 1,
  maxLength: 6,
})

describe("The frames of a WebSocket", () => {
  test("are told apart, however they are cut", () => {
    fc.assert(
      fc.property(frames, fc.infiniteStream(fc.integer({ min: 1, max: 5000 })), (described, cuts) => {
        const parts = described.map(([length, mask]) => frameOf(Buffer.alloc(length), mask))
        const all = Buffer.concat(parts)
        const ends = new Set<number>()
        for (let at = 0, index = 0; index < parts.length; index++) ends.add((at += parts[index]?.length ?? 0))
        const watched = createFrames()
        for (let at = 0; at < all.length;) {
          const end = Math.min(all.length, at + (cuts.next().value as number))
          expect(passFrames(watched, all.subarray(at, end), false)).toBe(end - at)
          at = end
          expect(isBetweenFrames(watched)).toBe(ends.has(at))
        }
      }),
      { numRuns: 200 },
    )
  })

  test("are ended where one ends: the one under way arrives whole, and nothing behind the last word", async () => {
    const [from, to] = [new PassThrough(), new PassThrough()]
    const say = carryFrames(from, to, closeFrame)
    const [first, second] = [frameOf(Buffer.alloc(300, 1), false), frameOf(Buffer.alloc(10, 2), false)]
    from.write(first.subarray(0, 100))
    await eventually(() => expect(to.readableLength).toBe(100))
    say()
    from.write(Buffer.concat([first.subarray(100), second]))
    expect(await buffer(to)).toEqual(Buffer.concat([first, closeFrame()]))
  })
})

test("A WebSocket that the edge ends is told so on both ends, as going away", async () => {
  const edge = await openTestEdge()
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" })
  await once(server, "listening")
  const atServer = Promise.withResolvers<number>()
  server.on("connection", (socket) => {
    socket.on("message", (data: Buffer) => socket.send(data)).on("close", (code) => atServer.resolve(code))
  })
  const client = new WebSocket(`wss://${edge.vm.name}:${edge.edge.port}/`, {
    ca: edge.ca,
    headers: {
      "x-aws-proxy-auth": edge.vm.token,
      "x-aws-proxy-port": String((server.address() as { port: number }).port),
    },
  })
  await once(client, "open")
  client.send("hello")
  expect(String((await once(client, "message"))[0])).toBe("hello")
  const atClient = once(client, "close")
  // Far longer than this takes: nothing is cut.
  await edge.edge.close(60_000)
  expect([await atServer.promise, (await atClient)[0]]).toEqual([1001, 1001])
  server.close()
  await edge[Symbol.asyncDispose]()
})

test("A client of HTTP/1.1 is answered while the edge closes, and the answer is its connection's last", async () => {
  const edge = await openTestEdge({ idleTimeoutSeconds: 600 })
  await using app = await openRawApp((socket, received) => {
    if (received.includes("/begun")) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
  })
  const [begun, waiting] = [await edge.raw(), await edge.raw()]
  begun.write(edge.head("GET /begun", app.port))
  const [head] = (await once(begun, "data")) as [Buffer]
  expect(String(head), "when nobody knew yet").toMatch(/^HTTP\/1.1 200 [^]*connection: keep-alive/i)
  waiting.write(edge.head("GET /waiting", app.port))
  await eventually(() => expect(app.received.join("")).toContain("/waiting"))
  const closed = edge.edge.close(600_000)
  for (const [index, socket] of [...app.connections].entries())
    socket.write(app.received[index]?.includes("/begun") ? "whole" : "HTTP/1.1 204 None\r\n\r\n")
  expect(await text(begun)).toBe("whole")
  expect(await text(waiting)).toMatch(/^HTTP\/1.1 204 [^]*connection: close/i)
  await closed
  await edge[Symbol.asyncDispose]()
})

test("Nobody waits for connections on which nothing was asked while the edge closes", async () => {
  const edge = await openTestEdge({ handshakeTimeoutSeconds: 600, headersTimeoutSeconds: 600, idleTimeoutSeconds: 600 })
  const silent = connect(edge.edge.port, "127.0.0.1").on("error", () => {})
  await once(silent, "connect")
  const shaken = await edge.raw()
  const half = await edge.raw()
  half.write("GET / HTTP/1.1\r\nX: ")
  await using app = await openRawApp(() => {})
  const asking = await edge.raw()
  asking.write(edge.head("GET /", app.port))
  await eventually(() => expect(app.connections.size).toBe(1))
  const closed = edge.edge.close(600_000)
  for (const socket of [silent, shaken, half]) await eventually(() => expect(socket.resume().destroyed).toBe(true))
  for (const socket of app.connections) socket.end("HTTP/1.1 204 None\r\n\r\n")
  expect(await text(asking)).toMatch(/^HTTP\/1.1 204 /)
  await closed
  await edge[Symbol.asyncDispose]()
})

test("Streams of events are broken off when the edge closes, and what ends by itself is waited for", async () => {
  const edge = await openTestEdge({ idleTimeoutSeconds: 600 })
  const events = (socket: Socket) =>
    void socket.write(
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n:up\n\r\n",
    )
  await using app = await openRawApp((socket, received) => {
    if (!received.includes("/whole")) events(socket)
  })
  const whole = await edge.raw()
  whole.write(edge.head("GET /whole", app.port))
  await eventually(() => expect(app.received.join("")).toContain("/whole"))
  const [over1] = (await once(edge.open({ port: app.port }).end(), "response")) as [IncomingMessage]
  expect(String((await once(over1, "data"))[0])).toBe(":up\n")
  await using client = await connectHttp2(edge)
  const over2 = client.open(app.port)
  expect(String((await once(over2, "data"))[0])).toBe(":up\n")
  const [ended1, ended2] = [once(over1, "error"), once(over2, "error")]

  const closed = edge.edge.close(600_000)
  expect(String((await ended1)[0])).toContain("aborted")
  expect((await ended2)[0]).toMatchObject({ code: "ERR_HTTP2_STREAM_ERROR" })
  for (const [index, socket] of [...app.connections].entries())
    if (app.received[index]?.includes("/whole")) socket.write("HTTP/1.1 204 None\r\n\r\n")
  expect(await text(whole)).toMatch(/^HTTP\/1.1 204 /)
  await closed
  await edge[Symbol.asyncDispose]()
})
