import { once } from "node:events"
import { createServer, type IncomingMessage } from "node:http"
import { buffer } from "node:stream/consumers"
import { expect, test } from "vitest"
import { WebSocket, WebSocketServer } from "ws"
import { eventually } from "../../fixtures/eventually.ts"
import { openRawApp } from "../raw-app.ts"
import { listen, openTestEdge } from "../test-edge.ts"

test("Where a bandwidth is set, bodies and WebSockets arrive whole, and half an answer is broken off", async () => {
  await using edge = await openTestEdge({ bandwidthMiBPerSecondPerVm: 4 })
  const app = createServer((request, response) => request.pipe(response))
  new WebSocketServer({ server: app }).on("connection", (socket) => socket.on("message", (data) => socket.send(data)))
  const port = await listen(app)
  const body = Buffer.alloc(1024 * 1024, "0123456789abcdef")
  const request = edge.open({ port }, { method: "POST" }).end(body)
  const [response] = (await once(request, "response")) as [IncomingMessage]
  expect((await buffer(response)).equals(body)).toBe(true)

  const headers = { "x-aws-proxy-auth": edge.vm.token, "x-aws-proxy-port": String(port) }
  const socket = new WebSocket(`wss://${edge.vm.name}:${edge.edge.port}/`, { ca: edge.ca, headers })
  await once(socket, "open")
  socket.send(body)
  const [echo] = (await once(socket, "message")) as [Buffer]
  expect(echo.equals(body)).toBe(true)
  socket.close()
  await once(socket, "close")

  await using half = await openRawApp((guest) => guest.end("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"))
  await expect(edge.get(half)).rejects.toThrow("aborted")
  await eventually(() => expect(edge.vm.activity.open).toBe(0))
  app.closeAllConnections()
  app.close()
})

test("A bandwidth holds back what has a body, up and down, and a WebSocket; what has none isn't", async () => {
  // A byte in a second, in MiB.
  await using edge = await openTestEdge({ bandwidthMiBPerSecondPerVm: 2 ** -20 })
  const body = "x".repeat(1000)
  await using app = await openRawApp((guest, received) => {
    const asked = received.split("GET ").at(-1) ?? ""
    if (asked.startsWith("/down")) guest.write(`HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n${body}`)
    if (asked.startsWith("/short") && guest.writable) guest.end("HTTP/1.1 204 No Content\r\n\r\n")
    if (asked.startsWith("/socket"))
      guest.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
  })
  const down = edge.open({ ...app, path: "/down" }).end()
  const [response] = (await once(down, "response")) as [IncomingMessage]
  let came = 0
  response.on("error", () => {}).on("data", (chunk: Buffer) => (came += chunk.length))
  const up = edge.open({ ...app, path: "/up" }, { method: "POST" }).on("error", () => {})
  up.end(body)
  const socket = await edge.raw()
  socket.write(edge.head("GET /socket", app.port, "Connection: Upgrade", "Upgrade: websocket"))
  await once(socket, "data")
  socket.write(body)
  await eventually(() => expect(edge.vm.activity.open).toBe(3))
  // Whatever isn't held back was there by now.
  for (let count = 0; count < 20; count++)
    expect(await edge.get({ ...app, path: "/short" })).toMatchObject({ status: 204 })
  expect([came, app.received.join("").includes("xxx")]).toEqual([0, false])
  for (const end of [down, up, socket]) end.destroy()
  await eventually(() => expect(edge.vm.activity.open).toBe(0))
})
