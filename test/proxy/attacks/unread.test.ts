/** Clients that ask and don't read: what they make a careless server keep, the edge holds back; what nobody counts, it ends. */
import { createServer as createHttp1Server } from "node:http"
import { connect as connectHttp2, createServer as createHttp2Server, type ServerHttp2Stream } from "node:http2"
import { expect, test } from "vitest"
import { eventually } from "../../fixtures/eventually.ts"
import { askOften, endlessly, openUnread, untilHeldBack, type Written } from "./unread.ts"
import { listen, openTestEdge } from "../test-edge.ts"
import {
  frame,
  INITIAL_WINDOW_SIZE,
  openHttp2Connection,
  openPlainHttp2Connection,
  PING,
  requestFields,
  settings,
  type Http2Connection,
} from "./frames.ts"

const PAGE = "x".repeat(4000)

const ping = frame(PING, 0, 0, "12345678")

test.for([
  ["opens no window", settings([INITIAL_WINDOW_SIZE, 0]), false],
  ["stops its socket", settings(), true],
] as const)(
  "A stranger who asks, and %s, is kept for good by a careless server, and not by the edge",
  async ([, first, stops]) => {
    await using edge = await openTestEdge({ idleTimeoutSeconds: 3 })
    const server = createHttp2Server().on("stream", (stream: ServerHttp2Stream) => {
      stream.on("error", () => {}).respond({ ":status": 403 })
      stream.end(PAGE)
    })
    const both = [
      await openPlainHttp2Connection(await listen(server), first),
      await openHttp2Connection(edge, first),
    ] as const
    const [willing, refused] = both
    for (const socket of both) {
      if (stops) socket.pause()
      askOften(
        socket,
        100,
        requestFields(edge, 80).filter(([name]) => name !== "x-aws-proxy-auth"),
      )
    }
    // One that doesn't read learns by writing that the other end is gone.
    const drip = setInterval(() => both.forEach((socket) => socket.writable && socket.write(ping)), 50)
    await eventually(() => expect(refused.destroyed).toBe(true))
    expect(willing.readyState).toBe("open")
    clearInterval(drip)
    willing.destroy()
    server.close()
  },
)

test.for([
  ["stays", () => {}],
  ["resets its connection", (socket: Http2Connection) => void socket.destroy()],
] as const)(
  "A user who stops reading in the middle of answers, and %s, is ended by the edge, and its requests too",
  async ([, leave]) => {
    await using edge = await openTestEdge({ idleTimeoutSeconds: 3 })
    const written: Written = { bytes: 0 }
    const app = createHttp1Server(endlessly(written))
    const port = await listen(app)
    const socket = await openUnread(edge)
    askOften(socket, 50, requestFields(edge, port))
    await untilHeldBack(written)
    leave(socket)
    await eventually(() => expect(edge.vm.activity.open).toBe(0))
    socket.destroy()
    app.closeAllConnections()
    app.close()
  },
)

test("A user who reads, and has an answer that says nothing, is waited for", async () => {
  await using edge = await openTestEdge({ idleTimeoutSeconds: 3 })
  const beats = Promise.withResolvers<void>()
  const app = createHttp1Server(() => {})
  const port = await listen(app)
  const session = connectHttp2(`https://${edge.vm.name}:${edge.edge.port}`, { ca: edge.ca })
  let pings = 0
  session.on("ping", () => void (++pings === 3 && beats.resolve()))
  session.request(Object.fromEntries(requestFields(edge, port))).on("error", () => {})
  await beats.promise
  expect([session.destroyed, edge.vm.activity.open]).toEqual([false, 1])
  session.destroy()
  app.closeAllConnections()
  app.close()
})

test("An edge that closes waits no longer than it said for clients who stopped reading in the middle of an answer", async () => {
  await using edge = await openTestEdge()
  const written: Written = { bytes: 0 }
  const app = createHttp1Server(endlessly(written))
  const port = await listen(app)
  const socket = await openUnread(edge)
  askOften(socket, 50, requestFields(edge, port))
  await untilHeldBack(written)
  await edge.edge.close(0)
  await eventually(() => expect(edge.vm.activity.open).toBe(0))
  socket.destroy()
  app.closeAllConnections()
  app.close()
})
