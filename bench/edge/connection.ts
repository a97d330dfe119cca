import { once } from "node:events"
import { connect as connectPlain, type Socket } from "node:net"
import { connect } from "node:tls"
import type { Errand } from "./client.ts"

/** A connection of HTTP/1.1 to a contestant on this machine, its certificate verified. */
export const openConnection = async ({ to, ca }: Errand): Promise<Socket> => {
  const address = { host: to.address ?? "127.0.0.1", port: to.port }
  if (ca === undefined) {
    const socket = connectPlain({ ...address, noDelay: true })
    await once(socket, "connect")
    return socket
  }
  const socket = connect({ ...address, servername: to.host, ca, ALPNProtocols: ["http/1.1"] })
  await once(socket, "secureConnect")
  return socket.setNoDelay(true)
}

/** The head of a request, token and all. */
export const headOf = ({ to }: Errand, path: string, ...fields: readonly string[]): string =>
  [
    `GET ${path} HTTP/1.1`,
    `Host: ${to.host}`,
    ...Object.entries(to.headers).map(([name, value]) => `${name}: ${value}`),
    ...fields,
    "\r\n",
  ].join("\r\n")

const WEBSOCKET = [
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
]

/** A WebSocket, agreed on. */
export const openWebSocket = async (errand: Errand): Promise<Socket> => {
  const socket = await openConnection(errand)
  socket.write(headOf(errand, "/echo", ...WEBSOCKET))
  const [answer] = (await once(socket, "data")) as [Buffer]
  if (!/^HTTP\/1\.1 101 [^]*\r\n\r\n$/.test(answer.toString("latin1")))
    throw new Error(`The upgrade was answered with ${answer.toString("latin1")}`)
  return socket
}
