/** Headers that unpack to more than they are: HPACK's table is the sender's to fill, and each of its fields is then one byte. */
import { once } from "node:events"
import { createServer as createHttp1Server } from "node:http"
import { createServer, type IncomingHttpHeaders, type ServerOptions } from "node:http2"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { eventually } from "../../fixtures/eventually.ts"
import { openRawApp } from "../raw-app.ts"
import { listen, openTestEdge, type TestEdge } from "../test-edge.ts"
import {
  ACK,
  again,
  block,
  DATA,
  END_STREAM,
  frame,
  HEADER_TABLE_SIZE,
  HEADERS,
  headerFrames,
  kept,
  openHttp2Connection,
  openPlainHttp2Connection,
  requestFields,
  RST_STREAM,
  SETTINGS,
  settings,
  type Http2Connection,
} from "./frames.ts"

const KEPT_LENGTH = 4000
const ENHANCE_YOUR_CALM = 11

let edge: TestEdge
beforeAll(async () => void (edge = await openTestEdge()))
afterAll(() => edge?.[Symbol.asyncDispose]())

/** A server that takes whatever it is sent; what it got for headers. */
const openCareless = async (options: ServerOptions & { maxDeflateDynamicTableSize?: number }) => {
  const server = createServer({ maxSessionMemory: 1000, ...options })
  const got: IncomingHttpHeaders[] = []
  server.on("stream", (stream, headers) => {
    got.push(headers)
    stream.respond({ ":status": 200 })
    stream.end()
  })
  const port = await listen(server)
  return {
    port,
    got,
    async [Symbol.asyncDispose]() {
      server.close()
      await once(server, "close")
    },
  }
}
const firstOf = ({ frames }: Http2Connection, wanted: number) =>
  eventually(() => {
    const found = frames.find(({ type, stream }) => stream === 1 && type === wanted)
    expect(found).toBeDefined()
    return found
  })

describe("A request whose headers are one field over and over", () => {
  const bomb = (times: number) => Buffer.concat([kept("x", "y".repeat(KEPT_LENGTH)), again(times)])

  test("is 16 MB out of 8 KB to a server without limits", async () => {
    await using careless = await openCareless({ settings: { maxHeaderListSize: 2 ** 24 }, maxHeaderListPairs: 2 ** 16 })
    const socket = await openPlainHttp2Connection(careless.port)
    const bytes = Buffer.concat([block(requestFields(edge, 80)), bomb(4000)])
    socket.write(headerFrames(END_STREAM, 1, bytes))
    await eventually(() => expect(String(careless.got[0]?.["x"]).length).toBeGreaterThan(1000 * bytes.length))
    socket.destroy()
  })

  test.for([
    ["who has agreed to a limit", true, 100],
    ["who has agreed to a limit", true, 50_000],
    ["who never said whether it agrees", false, 20],
    ["who never said whether it agrees", false, 100],
    ["who never said whether it agrees", false, 50_000],
  ] as const)("is taken back to its sender, %s (%s: %i times)", async ([, agrees, times]) => {
    let asked = 0
    const app = createHttp1Server({ maxHeaderSize: 2 ** 24 }, (_, response) => {
      asked++
      response.end()
    })
    const port = await listen(app)
    const socket = await openHttp2Connection(edge)
    await eventually(() => expect(socket.frames.some(({ type }) => type === SETTINGS)).toBe(true))
    if (agrees) socket.write(frame(SETTINGS, ACK, 0))
    socket.write(headerFrames(END_STREAM, 1, Buffer.concat([block(requestFields(edge, port)), bomb(times)])))
    expect((await firstOf(socket, RST_STREAM))?.code).toBe(ENHANCE_YOUR_CALM)
    // The connection is as good as before, and what was kept for it still says the same.
    socket.write(headerFrames(END_STREAM, 3, Buffer.concat([block(requestFields(edge, port)), again(5)])))
    await eventually(() =>
      expect(socket.frames.some(({ type, stream }) => stream === 3 && type === HEADERS)).toBe(true),
    )
    expect(asked).toBe(1)
    socket.destroy()
    app.close()
  })

  test("and whose trailers are, reaches no application whole", async () => {
    await using app = await openRawApp(() => {})
    const socket = await openHttp2Connection(edge)
    socket.write(headerFrames(0, 1, block(requestFields(edge, app.port))))
    socket.write(frame(DATA, 0, 1, "body"))
    await eventually(() => expect(app.received.join("")).toContain("body"))
    socket.write(headerFrames(END_STREAM, 1, bomb(100)))
    expect((await firstOf(socket, RST_STREAM))?.code).toBe(ENHANCE_YOUR_CALM)
    await eventually(() => expect(app.connections.size).toBe(0))
    expect(app.received.join("")).toMatch(/\r\nbody\r\n$/)
    socket.destroy()
  })
})

test("A client that wishes a table of 4 GiB for its answers' headers gets it of a careless server, and HTTP/2's own 4 KiB of the edge", async () => {
  const wish = settings([HEADER_TABLE_SIZE, 2 ** 32 - 1])
  /** What the encoder says of its table before the first of its headers, in front of them: RFC 7541, 6.3 and 5.1. */
  const ask = async (socket: Http2Connection, port: number) => {
    socket.write(headerFrames(END_STREAM, 1, block(requestFields(edge, port))))
    const answer = await firstOf(socket, HEADERS)
    socket.destroy()
    return answer?.code.toString(16)
  }
  await using careless = await openCareless({ maxDeflateDynamicTableSize: 2 ** 32 - 1 })
  expect(await ask(await openPlainHttp2Connection(careless.port, wish), 80)).toBe("3fe0ffff")
  await using app = await openRawApp((socket) => socket.end("HTTP/1.1 204 No Content\r\n\r\n"))
  expect(await ask(await openHttp2Connection(edge, wish), app.port)).toMatch(/^3fe11f/)
})
