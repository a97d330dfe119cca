import { once } from "node:events"
import type { IncomingMessage } from "node:http"
import { text } from "node:stream/consumers"
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import { eventually } from "../fixtures/eventually.ts"
import { openRawApp } from "./raw-app.ts"
import { openTestEdge, type TestEdge } from "./test-edge.ts"

let edge: TestEdge
beforeEach(async () => void (edge = await openTestEdge()))
afterEach(async () => {
  vi.useRealTimers()
  await edge[Symbol.asyncDispose]()
})

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
const AGREED = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

describe("The connections to a VM", () => {
  test("serve one request after another, and never another VM's, not even at the same address", async () => {
    await using app = await openRawApp((socket) => socket.write(OK))
    const other = await edge.addVm()
    for (const vm of [edge.vm, other, edge.vm, other]) await edge.get({ ...app, vm })
    expect(app.received.map((all) => all.match(/(?<=^host: )[^:\r]+/gim))).toEqual([
      [edge.vm.name, edge.vm.name],
      [other.name, other.name],
    ])
    // The first one's address is given to the other: only its own are closed.
    edge.edge.drop(edge.vm.id)
    await eventually(() => expect(app.connections.size).toBe(1))
    await edge.get({ ...app, vm: other })
    expect(app.received).toHaveLength(2)
  })

  test("all end when it sleeps: the kept, the waiting, the streams and the WebSockets", async () => {
    await using app = await openRawApp((socket, received) => {
      const request = received.split("GET ").at(-1) ?? ""
      if (request.startsWith("/kept")) socket.write(OK)
      if (request.startsWith("/stream"))
        socket.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nan event")
      if (request.startsWith("/socket")) socket.write(AGREED)
    })
    await edge.get({ ...app, path: "/kept" })
    // On the kept connection: that it was cut is no reason to ask again, where another VM may be by now.
    const waiting = edge.get({ ...app, path: "/waiting" })
    await eventually(() => expect(app.received[0]).toContain("/waiting"))
    const [stream] = (await once(edge.open({ ...app, path: "/stream" }).end(), "response")) as [IncomingMessage]
    await once(stream, "data")
    const socket = await edge.raw()
    socket.write(edge.head("GET /socket", app.port, "Connection: Upgrade", "Upgrade: websocket"))
    await once(socket, "data")
    const pending = await edge.raw()
    pending.write(edge.head("GET /pending", app.port, "Connection: Upgrade", "Upgrade: websocket"))
    const uploading = once(edge.open({ ...app, path: "/upload" }, { method: "POST" }).end("body"), "response")
    await eventually(() => expect(app.received.join("")).toContain("/upload"))
    await eventually(() => expect([edge.vm.activity.open, app.connections.size]).toEqual([5, 5]))
    expect(edge.vm.activity.endless, "the events and the WebSocket").toBe(2)

    edge.edge.drop(edge.vm.id)
    const gone = { status: 502, body: "", headers: { "x-aws-proxy-error": "MICROVM_CONNECT_FAILED" } }
    expect(await waiting).toMatchObject(gone)
    expect((await uploading)[0]).toMatchObject({ statusCode: 502, headers: gone.headers })
    await expect(text(stream)).rejects.toThrow("aborted")
    expect(await text(socket)).toBe("")
    expect(await text(pending)).toMatch(/^HTTP\/1.1 502 [^]*x-aws-proxy-error: MICROVM_CONNECT_FAILED/i)
    await eventually(() => expect([edge.vm.activity.open, app.connections.size]).toEqual([0, 0]))
    expect(edge.vm.activity.endless).toBe(0)
    expect(app.received).toHaveLength(5)
    expect(await edge.get({ ...app, path: "/kept" })).toMatchObject({ status: 200 })
  })

  test("may take their time to answer, new or kept: only a connection that isn't made is given up", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] })
    await using app = await openRawApp((socket) => {
      vi.advanceTimersByTime(3_600_000)
      socket.write(OK)
    })
    for (let times = 0; times < 2; times++) expect(await edge.get(app)).toMatchObject({ status: 200, body: "ok" })
    expect(app.received).toHaveLength(1)
  })

  test("are gone when the edge is closed", async () => {
    await using app = await openRawApp((socket) => socket.write(OK))
    await edge.get(app)
    expect(app.connections.size).toBe(1)
    await edge.edge.close(0)
    await eventually(() => expect(app.connections.size).toBe(0))
  })
})
