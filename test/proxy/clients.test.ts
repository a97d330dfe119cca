import { once } from "node:events"
import type { IncomingMessage } from "node:http"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { WebSocket } from "ws"
import { eventually } from "../fixtures/eventually.ts"
import { runCommand } from "../../src/command.ts"
import { openRawApp, type RawApp } from "./raw-app.ts"
import { openTestEdge, type TestEdge } from "./test-edge.ts"

let edge: TestEdge
beforeEach(async () => void (edge = await openTestEdge()))
afterEach(() => edge[Symbol.asyncDispose]())

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
const UPGRADE = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAA"]

/** Resolves when a number of requests is counted as open. */
const open = (count: number) => eventually(() => expect(edge.vm.activity.open).toBe(count))
/** Resolves when nothing is left of what was open. */
const nothingLeft = (app?: RawApp) =>
  eventually(() => expect([edge.vm.activity.open, app?.connections.size ?? 0]).toEqual([0, 0]))

/** Lets the VM sleep; tells whether the edge waits for it, and whether it gave that up. */
const fallAsleep = () => {
  const state = { asked: Promise.withResolvers<void>(), gaveUp: Promise.withResolvers<void>() }
  edge.vm.address = undefined
  edge.vm.awake = (signal) =>
    new Promise((_, reject) => {
      signal.addEventListener("abort", () => {
        reject(signal.reason as Error)
        state.gaveUp.resolve()
      })
      state.asked.resolve()
    })
  return { asked: state.asked.promise, gaveUp: state.gaveUp.promise }
}

describe("A client that leaves", () => {
  test.for([
    ["a request", (port: number) => edge.head("GET /", port)],
    ["a request with a body to come", (port: number) => edge.head("POST /", port, "Content-Length: 9")],
    ["an upgrade", (port: number) => edge.head("GET /", port, ...UPGRADE)],
  ] as const)("while %s of its waits for the VM ends the wait", async ([, toHead]) => {
    const { asked, gaveUp } = fallAsleep()
    for (const how of ["end", "reset"] as const) {
      const socket = await edge.raw()
      socket.write(toHead(1))
      await asked
      await open(1)
      socket[how]()
      await gaveUp
      await open(0)
    }
  })

  test("while its request waits gets nothing sent, even if the VM wakes", async () => {
    await using app = await openRawApp((socket) => socket.end(OK))
    const woken = Promise.withResolvers<string>()
    edge.vm.address = undefined
    edge.vm.awake = () => woken.promise
    for (const head of [edge.head("GET /", app.port), edge.head("GET /", app.port, ...UPGRADE)]) {
      const socket = await edge.raw()
      socket.write(head)
      await open(1)
      socket.destroy()
      await once(socket, "close")
    }
    // One that stays: when it is answered, the others had their turn.
    const stays = edge.get(app)
    await open(3)
    woken.resolve("127.0.0.1")
    expect(await stays).toMatchObject({ status: 200 })
    expect(app.received).toHaveLength(1)
    await open(0)
  })

  test("in the middle of its upload ends it at the application", async () => {
    await using app = await openRawApp(() => {})
    const request = edge.open(app, { method: "POST" }).on("error", () => {})
    request.write("some")
    await eventually(() => expect(app.received[0]).toContain("some"))
    request.destroy()
    await nothingLeft(app)
    expect(app.received[0]).not.toContain("0\r\n\r\n")
  })

  test("in the middle of a stream ends it at the application", async () => {
    await using app = await openRawApp((socket) => socket.write("HTTP/1.1 200 OK\r\n\r\nan event"))
    const request = edge.open(app).end()
    const [response] = (await once(request, "response")) as [IncomingMessage]
    await once(response, "data")
    response.destroy()
    await nothingLeft(app)
  })

  test("without having read what waits for it ends it at the application", async () => {
    await using app = await openRawApp((socket) => {
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n")
      const chunk = Buffer.alloc(1024 * 1024)
      const more = () => {
        while (socket.writable && socket.write(chunk));
      }
      socket.on("drain", more)
      more()
    })
    const socket = await edge.raw()
    socket.pause().write(edge.head("GET /", app.port))
    // Every buffer between them is full when the application is held back for good.
    const [upstream] = await eventually(() => {
      expect(app.connections.size).toBe(1)
      return [...app.connections]
    })
    let before = -1
    await eventually(
      () => {
        const now = upstream?.bytesWritten ?? 0
        const stands = now === before
        before = now
        expect(stands).toBe(true)
      },
      { interval: 200 },
    )
    socket.destroy()
    await nothingLeft(app)
  })

  test("with several requests behind each other ends them all", async () => {
    await using app = await openRawApp(() => {})
    const socket = await edge.raw()
    socket.write(edge.head("GET /1", app.port) + edge.head("GET /2", app.port) + edge.head("GET /3", app.port))
    await open(3)
    socket.destroy()
    await nothingLeft(app)
  })

  test("before the application agrees to its upgrade ends that there too", async () => {
    await using app = await openRawApp(() => {})
    for (const how of ["end", "reset"] as const) {
      const socket = await edge.raw()
      socket.write(edge.head("GET /", app.port, ...UPGRADE))
      await eventually(() => expect(app.connections.size).toBe(1))
      socket[how]()
      await nothingLeft(app)
    }
  })

  test.for(["end", "reset"] as const)("its WebSocket, by %s, ends it at the application", async (how) => {
    await using app = await openRawApp((socket) =>
      socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
    )
    const socket = await edge.raw()
    socket.write(edge.head("GET /", app.port, ...UPGRADE))
    const [head] = (await once(socket, "data")) as [Buffer]
    expect(head.toString()).toMatch(/^HTTP\/1.1 101 /)
    expect(edge.vm.activity.open).toBe(1)
    socket[how]()
    await nothingLeft(app)
  })
})

describe("A client that stays", () => {
  test("without a request isn't counted", async () => {
    await using app = await openRawApp((socket) => socket.write(OK))
    const socket = await edge.raw()
    let told = ""
    socket.on("data", (data: Buffer) => void (told += data.toString()))
    socket.write(edge.head("GET /", app.port))
    await eventually(() => expect(told).toMatch(/^HTTP\/1.1 200 [^]*ok$/))
    await open(0)
    expect(socket.writable).toBe(true)
    socket.write(edge.head("GET /again", app.port))
    await eventually(() => expect(told).toMatch(/ok(?=HTTP\/1.1 200 )[^]*ok$/))
    expect(app.received, "over the same connection").toHaveLength(1)
    socket.destroy()
  })

  test("is asked now and then by the kernel whether it is there, since one that vanished says nothing", async () => {
    const socket = await edge.raw()
    // The edge's end may be accepted, or have its handshake on the way, a moment later than the client's is there.
    await eventually(async () => {
      const connections = await runCommand("ss", ["-tnoH", "state", "established", `( sport = :${edge.edge.port} )`], {
        signal: AbortSignal.timeout(60_000),
      })
      expect(connections).toMatch(/timer:\(keepalive/)
    })
    socket.destroy()
  })

  test("with more requests than one VM may have is told to wait, and the others go on", async () => {
    await using few = await openTestEdge({ maxRequestsPerVm: 2 })
    await using app = await openRawApp((socket, received) => void (received.includes("/now") && socket.write(OK)))
    const held = [1, 2].map(() => few.open(app).on("error", () => {}))
    for (const request of held) request.end()
    await eventually(() => expect(few.vm.activity.open).toBe(2))
    const { status, headers } = await few.get({ ...app, path: "/now" })
    expect([status, headers["retry-after"], headers["x-aws-proxy-error"]]).toEqual([429, "1", "TOO_MANY_REQUESTS"])
    const socket = new WebSocket(`wss://${few.vm.name}:${few.edge.port}/`, {
      ca: few.ca,
      headers: { "x-aws-proxy-auth": few.vm.token },
    })
    expect(String(await once(socket, "error"))).toContain("429")
    const vm = await few.addVm()
    expect(await few.get({ ...app, path: "/now", vm })).toMatchObject({ status: 200 })
    for (const request of held) request.destroy()
    await eventually(() => expect(few.vm.activity.open).toBe(0))
    expect(await few.get({ ...app, path: "/now" })).toMatchObject({ status: 200 })
  })
})
