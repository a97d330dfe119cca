/** PINGs and SETTINGS whose answers are read: a careless server answers them for good, the edge as long as they are of any use. */
import { once } from "node:events"
import { connect as connectHttp2, createServer } from "node:http2"
import { createServer as createTcpServer } from "node:net"
import { afterAll, beforeAll, expect, test } from "vitest"
import { createControlBudget } from "../../../proxy/limits/control-frames.ts"
import { eventually } from "../../fixtures/eventually.ts"
import { openRawApp } from "../raw-app.ts"
import { listen, openTestEdge, type TestEdge } from "../test-edge.ts"
import {
  ACK,
  block,
  END_STREAM,
  frame,
  GOAWAY,
  HEADERS,
  headerFrames,
  openHttp2Connection,
  openPlainHttp2Connection,
  PING,
  readFrames,
  requestFields,
  SETTINGS,
  settings,
  type Http2Connection,
} from "./frames.ts"

const ENHANCE_YOUR_CALM = 11

let edge: TestEdge
beforeAll(async () => void (edge = await openTestEdge()))
afterAll(() => edge?.[Symbol.asyncDispose]())

const isOver = ({ destroyed, frames }: Http2Connection) => destroyed || frames.some(({ type }) => type === GOAWAY)
/** Sends a hundred and waits for their answers, again and again; how many of 20,000 were answered. */
const flood = async (socket: Http2Connection, one: Buffer): Promise<number> => {
  const answered = () => socket.frames.filter(({ type, flags }) => type === one[3] && (flags & ACK) !== 0).length
  const some = Buffer.concat(Array.from({ length: 100 }, () => one))
  for (let sent = 100; sent <= 20_000 && !isOver(socket); sent += 100) {
    socket.write(some)
    await eventually(() => expect(isOver(socket) || answered() >= sent).toBe(true), { interval: 1 })
  }
  return answered()
}

test.for<[what: string, one: Buffer]>([
  ["PINGs", frame(PING, 0, 0, "12345678")],
  ["settings", frame(SETTINGS, 0, 0)],
  ["settings that change each time", settings([4, 1])],
])(
  "A flood of %s is answered to its end by a careless server, and is its connection's end at the edge",
  async ([, one]) => {
    const careless = createServer()
    const willing = await openPlainHttp2Connection(await listen(careless))
    expect(await flood(willing, one)).toBeGreaterThanOrEqual(20_000)
    willing.destroy()
    careless.close()

    const socket = await openHttp2Connection(edge)
    expect(await flood(socket, one)).toBeLessThan(5000)
    expect(socket.frames.findLast(({ type }) => type === GOAWAY)?.code).toBe(ENHANCE_YOUR_CALM)
    await eventually(() => expect(socket.closed).toBe(true))
  },
)

/** An application that greets as HTTP/2 does, and then asks for signs of life, of which it waits for a hundred at a time. */
const openFloodingApp = async () => {
  const found = { answered: 0, isClosed: false }
  const some = Buffer.concat(Array.from({ length: 100 }, () => frame(PING, 0, 0, "12345678")))
  const server = createTcpServer((socket) => {
    socket.write(settings())
    let preface = 24
    const read = readFrames(({ type, flags }) => {
      if (type === HEADERS) socket.write(some)
      if (type === PING && (flags & ACK) !== 0 && ++found.answered % 100 === 0 && found.answered < 20_000)
        socket.write(some)
    })
    socket
      .on("data", (data: Buffer) => {
        const passed = Math.min(preface, data.length)
        preface -= passed
        read(data.subarray(passed))
      })
      .on("error", () => {})
      .on("close", () => (found.isClosed = found.answered > 0))
  })
  return { port: await listen(server), found, [Symbol.dispose]: () => void server.close() }
}

test("A flood of PINGs of an application is answered to its end by a careless client, and fails its request at the edge", async () => {
  using willing = await openFloodingApp()
  const careless = connectHttp2(`http://127.0.0.1:${willing.port}`)
  careless.request({ ":path": "/" }).on("error", () => {})
  await eventually(() => expect(willing.found.answered).toBeGreaterThanOrEqual(20_000))
  careless.destroy()

  using app = await openFloodingApp()
  const { status } = await edge.get(app, {
    headers: {
      "x-aws-proxy-force-h2": "true",
      "x-aws-proxy-auth": edge.vm.token,
      "x-aws-proxy-port": String(app.port),
    },
  })
  expect(status).toBe(502)
  await eventually(() => expect(app.found.isClosed).toBe(true))
  expect(app.found.answered).toBeLessThan(5000)
})

test("A connection that is ended for them doesn't keep its requests", async () => {
  await using app = await openRawApp(() => {})
  const socket = await openHttp2Connection(edge)
  socket.write(headerFrames(END_STREAM, 1, block(requestFields(edge, app.port))))
  await eventually(() => expect(edge.vm.activity.open).toBe(1))
  await flood(socket, frame(PING, 0, 0, "12345678"))
  await eventually(() => expect([app.connections.size, edge.vm.activity.open]).toEqual([0, 0]))
})

test("A client that asks for a sign of life every second is left alone for as long as it lives", () => {
  let now = 0
  const budget = createControlBudget(() => now)
  const day = Array.from({ length: 86_400 }, () => {
    now += 1000
    return budget.take(0)
  })
  expect(day.every(Boolean)).toBe(true)
})

test("A client that measures its connection by a PING for each message that it gets, as gRPC's do, is left alone", async () => {
  const MESSAGES = 4000
  const app = createServer().on("stream", (stream) => {
    stream.respond({ ":status": 200 })
    stream.pipe(stream)
  })
  const port = await listen(app)
  const session = connectHttp2(`https://${edge.vm.name}:${edge.edge.port}`, { ca: edge.ca })
  const stream = session.request(
    Object.fromEntries([...requestFields(edge, port), [":method", "POST"], ["content-type", "application/grpc"]]),
  )
  await once(stream, "response")
  for (let count = 0; count < MESSAGES; count++) {
    stream.write("\0\0\0\0\0")
    await once(stream, "data")
    await new Promise<void>((resolve, reject) => session.ping((error) => (error ? reject(error) : resolve())))
  }
  expect(session.destroyed).toBe(false)
  session.destroy()
  app.close()
})
