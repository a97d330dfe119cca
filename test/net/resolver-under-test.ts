/** A resolver of a test's own, and those who ask it. */
import { createSocket } from "node:dgram"
import { Resolver as Client } from "node:dns/promises"
import { once } from "node:events"
import { connect, type Socket } from "node:net"
import { expect } from "vitest"
import { createLog } from "../../src/log.ts"
import { messagesOf } from "../../src/net/dns-frames.ts"
import type { NameServer } from "../../src/net/name-server.ts"
import { RESOLVER_PORT } from "../../src/net/policy.ts"
import { openResolver } from "../../src/net/resolver.ts"
import { eventually } from "../fixtures/eventually.ts"
import { toAnswer } from "./dns-messages.ts"
import { type Behaviour } from "./name-server.ts"

/** An address of this machine's loopback that no other test has: the resolver's port is always the same. */
let next = 0
export const ownAddress = () => `127.${process.pid & 127}.${(process.pid >> 7) & 255}.${++next}`

export const ADDRESS = Buffer.from([203, 0, 113, 7])
export const says: Behaviour = ({ message }) => [toAnswer(message, { data: [ADDRESS] })]
export const isSilent: Behaviour = () => []
export const text = (value: string) => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)])

export const open = async (nameServers: readonly NameServer[]) => {
  const address = ownAddress()
  const resolver = await openResolver({ address, nameServers, log: createLog("error") })
  return { address, close: () => resolver.close(), [Symbol.asyncDispose]: () => resolver.close() }
}

/** A client's own socket, which hears whatever is sent to it. */
export const openClient = async (address: string) => {
  const socket = createSocket("udp4")
  const heard: Buffer[] = []
  socket.on("message", (message) => heard.push(message)).on("error", () => {})
  socket.connect(RESOLVER_PORT, address)
  await once(socket, "connect")
  return {
    heard,
    send: (message: Buffer) => socket.send(message),
    /** The answer to the next message; nothing else may be heard before it. */
    async ask(message: Buffer) {
      socket.send(message)
      const [answer] = (await once(socket, "message")) as [Buffer]
      return answer
    },
    [Symbol.asyncDispose]: () => new Promise<void>((done) => socket.close(done)),
  }
}

export const dial = async (address: string): Promise<Socket> => {
  const socket = connect(RESOLVER_PORT, address)
  socket.on("error", () => {})
  await once(socket, "connect")
  return socket
}
/** Every message until the connection ends, however it ends. */
export const heardBy = async (socket: Socket): Promise<Buffer[]> => {
  const heard: Buffer[] = []
  try {
    for await (const message of messagesOf(socket, 65_535)) heard.push(message)
  } catch {}
  return heard
}
/** Resolves when the connection is over, however it ended; what comes meanwhile is passed over. */
export const end = (socket: Socket) => closing(socket.resume())
export const closing = (socket: Socket) => new Promise<void>((done) => socket.once("close", () => done()))
export const until = (condition: () => boolean) => eventually(() => expect(condition()).toBe(true), { interval: 1 })
/** A DNS client as programs have it, with its own falling back to TCP. */
export const clientOf = (address: string) => {
  const client = new Client({ tries: 1, timeout: 20_000 })
  client.setServers([`${address}:${RESOLVER_PORT}`])
  return client
}
