/** What clients can make an edge hold in its memory: headers that unpack to much, answers that nobody reads. */
import { once } from "node:events"
import { createServer as createHttp1Server } from "node:http"
import { createServer as createHttp2Server } from "node:http2"
import { request as send } from "node:https"
import type { IncomingMessage } from "node:http"
import { text } from "node:stream/consumers"
import { afterAll, beforeAll, expect, test } from "vitest"
import { eventually } from "../../fixtures/eventually.ts"
import { startEdgeProcess, type EdgeProcess } from "../edge-process.ts"
import { listen } from "../test-edge.ts"
import {
  again,
  block,
  END_STREAM,
  headerFrames,
  INITIAL_WINDOW_SIZE,
  kept,
  openHttp2Connection,
  openPlainHttp2Connection,
  requestFields,
  RST_STREAM,
  settings,
  type EdgeAt,
  type Http2Connection,
} from "./frames.ts"
import { askOften, endlessly, openUnread, untilHeldBack, type Written } from "./unread.ts"

const MIB = 1024 * 1024
/** Far below what all rounds would hold without a limit, and more than the 64 MiB of buffers after which V8 collects them. */
const MAX_GROWTH_MIB = 96
const [ROUNDS, REQUESTS] = [3, 80]

let edge: EdgeProcess
let at: EdgeAt
let port: number
const written: Written = { bytes: 0 }
const app = createHttp1Server(endlessly(written))
const count = async () => {
  const { promise, resolve } = Promise.withResolvers<number>()
  app.getConnections((_, connections) => resolve(connections))
  return promise
}
beforeAll(async () => {
  edge = await startEdgeProcess({ idleTimeoutSeconds: 2 })
  at = { edge, vm: edge, ca: edge.ca }
  port = await listen(app)
  // Code and pools that the first one needs.
  await hold(await openUnread(at))
})
afterAll(async () => {
  app.closeAllConnections()
  app.close()
  await edge[Symbol.asyncDispose]()
})

const getShort = async () => {
  const headers = { host: edge.name, "x-aws-proxy-auth": edge.token, "x-aws-proxy-port": port }
  const to = { host: "127.0.0.1", port: edge.port, servername: edge.name, ca: edge.ca, path: "/short", headers }
  const [response] = (await once(send(to).end(), "response")) as [IncomingMessage]
  return text(response)
}
/** Asks for a lot on a connection until the application is held back, and leaves. */
const hold = async (socket: Http2Connection) => {
  written.bytes = 0
  askOften(socket, REQUESTS, requestFields(at, port))
  await untilHeldBack(written)
  expect(await getShort()).toBe("ok")
  socket.destroy()
  // All but what is kept for a next request.
  await eventually(async () => expect(await count()).toBeLessThan(5))
}

test.for<[what: string, open: () => Promise<Http2Connection>]>([
  ["a client that opens no window", () => openHttp2Connection(at, settings([INITIAL_WINDOW_SIZE, 0]))],
  ["a client that stops its socket", () => openUnread(at)],
])(
  "For %s a careless server keeps what it says; the edge holds its application back, and answers others",
  async ([, open]) => {
    const careless = createHttp2Server()
    let waiting = 0
    careless.on("stream", (stream) => {
      stream.on("error", () => {}).respond()
      for (let piece = Buffer.alloc(MIB); waiting < 100 * MIB; waiting = stream.writableLength) stream.write(piece)
    })
    const hoarder = await openPlainHttp2Connection(await listen(careless), settings([INITIAL_WINDOW_SIZE, 0]))
    hoarder.pause()
    askOften(hoarder, 1, requestFields(at, port))
    await eventually(() => expect(waiting).toBeGreaterThanOrEqual(100 * MIB))
    hoarder.destroy()
    careless.close()

    await edge.peakGrowthMiB()
    for (let round = 0; round < ROUNDS; round++) await hold(await open())
    expect(await edge.peakGrowthMiB()).toBeLessThan(MAX_GROWTH_MIB)
  },
)

test("A thousand requests of 200 MB of headers each are none, and cost nobody any memory", async () => {
  await edge.peakGrowthMiB()
  for (let connection = 0; connection < 20; connection++) {
    const socket = await openHttp2Connection(at)
    const bytes = Buffer.concat([block(requestFields(at, port)), kept("x", "y".repeat(4000)), again(50_000)])
    askMany(socket, bytes)
    // Whole requests are none of them, so that it may have been idle for too long.
    await eventually(() => expect(socket.closed || socket.frames.filter(isReset).length >= 50).toBe(true))
    socket.destroy()
  }
  expect(await getShort()).toBe("ok")
  expect(await edge.peakGrowthMiB()).toBeLessThan(MAX_GROWTH_MIB)
})

const isReset = ({ type }: { type: number }) => type === RST_STREAM
const askMany = (socket: Http2Connection, bytes: Buffer) => {
  for (let index = 0; index < 50; index++) socket.write(headerFrames(END_STREAM, 2 * index + 1, bytes))
}
