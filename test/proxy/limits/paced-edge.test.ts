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
