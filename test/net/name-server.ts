/** A name server for tests, on UDP and TCP at one port. */
import { createSocket, type RemoteInfo, type Socket as Datagrams } from "node:dgram"
import { once } from "node:events"
import { createServer, type Socket } from "node:net"
import type { AddressInfo } from "node:net"
import { messagesOf, toFrame } from "../../src/net/dns-frames.ts"
import { questionOf } from "./dns-messages.ts"

export interface Asked {
  readonly transport: "udp" | "tcp"
  readonly name: string
  readonly type: number
  readonly message: Buffer
  /** Who asks, to whom a forger would answer. */
  readonly from: { readonly address: string; readonly port: number }
}

/** What is sent back, one message after the other; nothing when there is none. */
export type Behaviour = (asked: Asked) => Buffer[] | Promise<Buffer[]>

export interface TestNameServer {
  readonly address: string
  readonly port: number
  /** Every question that arrived, in order. */
  readonly asked: Asked[]
  [Symbol.asyncDispose](): Promise<void>
}

/** Opens a name server that does as it is told; the caller disposes it. */
export const openNameServer = async (behave: Behaviour, address = "127.0.0.1", port = 0): Promise<TestNameServer> => {
  const udp: Datagrams = createSocket(address.includes(":") ? "udp6" : "udp4")
  const asked: Asked[] = []
  const connections = new Set<Socket>()
  const toAsked = (transport: Asked["transport"], message: Buffer, from: Asked["from"]) => {
    const one = { transport, message, from, ...questionOf(message) }
    asked.push(one)
    return one
  }
  udp.on("message", async (message: Buffer, from: RemoteInfo) => {
    for (const answer of await behave(toAsked("udp", message, from))) udp.send(answer, from.port, from.address)
  })
  const tcp = createServer(async (socket) => {
    connections.add(socket)
    socket.on("error", () => {})
    const from = { address: socket.remoteAddress ?? "", port: socket.remotePort ?? 0 }
    try {
      for await (const message of messagesOf(socket, 65_535))
        for (const answer of await behave(toAsked("tcp", message, from))) socket.write(toFrame(answer))
    } catch {
      socket.destroy()
    }
  })
  // The same port for both: the one that UDP got may be taken for TCP, so TCP chooses.
  tcp.listen(port, address)
  await once(tcp, "listening")
  const { port: chosen } = tcp.address() as AddressInfo
  udp.bind(chosen, address)
  await once(udp, "listening")
  return {
    address,
    port: chosen,
    asked,
    async [Symbol.asyncDispose]() {
      for (const socket of connections) socket.destroy()
      await Promise.all([
        new Promise<void>((done) => udp.close(done)),
        new Promise<void>((done) => tcp.close(() => done())),
      ])
    },
  }
}
