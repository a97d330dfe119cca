/** The least that a proxy on Node can be: its HTTPS server, its HTTP client with an agent that keeps connections, and nothing else. */
import { once } from "node:events"
import { createServer } from "node:https"
import { Agent, request as send } from "node:http"
import type { AddressInfo, Socket } from "node:net"
import type { Entrance, Ports } from "./contestant.ts"

export const openBareProxy = async (
  tls: { readonly certificate: string; readonly key: string },
  { app, echo }: Ports,
) => {
  const agent = new Agent({ keepAlive: true })
  const server = createServer({ key: tls.key, cert: tls.certificate }, (incoming, outgoing) => {
    const { method, url, headers } = incoming
    const toApp = send({ host: "127.0.0.1", port: url === "/sink" ? echo : app, method, path: url, headers, agent })
    toApp.on("response", (answer) => {
      outgoing.writeHead(answer.statusCode ?? 0, answer.headers)
      answer.pipe(outgoing)
    })
    toApp.on("error", () => outgoing.destroy())
    incoming.pipe(toApp)
  })
  server.on("upgrade", ({ url, headers }, socket: Socket) => {
    const toApp = send({ host: "127.0.0.1", port: echo, path: url, headers, agent: false })
    toApp.on("upgrade", (answer, guest: Socket) => {
      const lines = Object.entries(answer.headers).map(([name, value]) => `${name}: ${String(value)}`)
      socket.write(["HTTP/1.1 101 Switching Protocols", ...lines, "\r\n"].join("\r\n"))
      for (const end of [socket, guest]) end.setNoDelay(true).on("error", () => {})
      socket.pipe(guest).pipe(socket)
    })
    toApp.on("error", () => socket.destroy()).end()
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const entrance: Entrance = { port: (server.address() as AddressInfo).port, host: "node.vm.localhost", headers: {} }
  const close = async () => {
    server.closeAllConnections()
    server.close()
    agent.destroy()
  }
  return { entrance, close }
}
