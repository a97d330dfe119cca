/**
 * The resolver of one slot: what a guest asks 169.254.169.253 arrives at the host's end of its link, on sockets that only it can reach,
 * and is forwarded to the host's name servers. Bounded in size, number and time; AAAA has no data, since guests have no IPv6.
 */
import { createSocket, type RemoteInfo, type Socket as Datagrams } from "node:dgram"
import { once } from "node:events"
import { readFile } from "node:fs/promises"
import { connect, createServer, isIP, type Socket } from "node:net"
import { randomInt } from "node:crypto"
import type { Log } from "../log.ts"
import { answers, emptyAnswer, parseQuery, TYPE_AAAA, type Question } from "./dns-message.ts"
import { RESOLVER_PORT } from "./policy.ts"

export interface Resolver {
  close(): Promise<void>
}

export interface ResolverOptions {
  /** The host's end of the slot's link. */
  readonly address: string
  /** `address` or `address:port`; empty: those of /etc/resolv.conf, as they are at each question. */
  readonly nameServers: readonly string[]
  readonly log: Log
}

const MAX_IN_FLIGHT = 64
const MAX_TCP_CONNECTIONS = 8
const UPSTREAM_TIMEOUT_MS = 3000
const TCP_IDLE_MS = 10_000
const [HEADER_BYTES, SERVER_FAILURE, NO_DATA] = [12, 2, 0]

/** Opens the two sockets; the caller closes the resolver. */
export const openResolver = async (options: ResolverOptions): Promise<Resolver> => {
  const udp = createSocket("udp4")
  const connections = new Set<Socket>()
  let inFlight = 0

  const resolve = async (query: Buffer, transport: Transport): Promise<Buffer | undefined> => {
    const question = parseQuery(query)
    if (question === undefined || inFlight >= MAX_IN_FLIGHT) return undefined
    if (question.type === TYPE_AAAA) return emptyAnswer(query, question, NO_DATA)
    inFlight++
    try {
      return await forward(query, question, await nameServersOf(options), transport)
    } finally {
      inFlight--
    }
  }

  udp.on("message", (query: Buffer, { address, port }: RemoteInfo) => {
    resolve(query, askByUdp).then(
      (answer) => answer !== undefined && udp.send(answer, port, address),
      (error: unknown) => options.log.debug({ err: error }, "A name could not be asked for"),
    )
  })
  udp.on("error", (error) => options.log.warn({ err: error }, "A slot's resolver failed"))

  const tcp = createServer((socket) => {
    connections.add(socket)
    socket.setTimeout(TCP_IDLE_MS, () => socket.destroy())
    socket.on("error", () => {})
    socket.once("close", () => connections.delete(socket))
    serveTcp(socket, (query) => resolve(query, askByTcp)).catch(() => socket.destroy())
  })
  tcp.maxConnections = MAX_TCP_CONNECTIONS

  try {
    udp.bind(RESOLVER_PORT, options.address)
    tcp.listen(RESOLVER_PORT, options.address)
    await Promise.all([once(udp, "listening"), once(tcp, "listening")])
  } catch (error) {
    udp.close()
    tcp.close()
    throw error
  }
  return {
    async close() {
      for (const socket of connections) socket.destroy()
      await Promise.all([
        new Promise<void>((done) => udp.close(done)),
        new Promise<void>((done) => tcp.close(() => done())),
      ])
    },
  }
}

type Transport = (
  query: Buffer,
  server: { address: string; port: number },
  isAnswer: (message: Buffer) => boolean,
) => Promise<Buffer>

/** Asks one name server after the other under an id of our own. */
const forward = async (
  query: Buffer,
  question: Question,
  servers: readonly { address: string; port: number }[],
  transport: Transport,
): Promise<Buffer> => {
  const asked = Buffer.from(query)
  const id = randomInt(65536)
  asked.writeUInt16BE(id, 0)
  const name = query.subarray(HEADER_BYTES, question.end)
  for (const server of servers) {
    const answer = await transport(asked, server, (message) => answers(message, id, name)).catch(() => undefined)
    if (answer === undefined) continue
    query.copy(answer, 0, 0, 2)
    return answer
  }
  return emptyAnswer(query, question, SERVER_FAILURE)
}

const askByUdp: Transport = async (query, { address, port }, isAnswer) => {
  // A socket a question, connected: its port is as random as its id, and the kernel drops what others send.
  const socket: Datagrams = createSocket(isIP(address) === 6 ? "udp6" : "udp4")
  try {
    const answered = new Promise<Buffer>((resolve, reject) => {
      socket.on("message", (message) => isAnswer(message) && resolve(message))
      socket.once("error", reject)
    })
    socket.connect(port, address)
    await once(socket, "connect")
    socket.send(query)
    return await withTimeout(answered)
  } finally {
    socket.close()
  }
}

const askByTcp: Transport = async (query, { address, port }, isAnswer) => {
  const socket = connect(port, address)
  try {
    const answered = (async () => {
      await once(socket, "connect")
      socket.write(framed(query))
      for await (const message of messagesOf(socket)) if (isAnswer(message)) return message
      throw new Error("The name server closed the connection")
    })()
    return await withTimeout(answered)
  } finally {
    socket.destroy()
  }
}

const withTimeout = <Value>(value: Promise<Value>): Promise<Value> => {
  const { promise, reject } = Promise.withResolvers<Value>()
  const timer = setTimeout(() => reject(new Error("The name server did not answer in time")), UPSTREAM_TIMEOUT_MS)
  return Promise.race([value, promise]).finally(() => clearTimeout(timer))
}

const serveTcp = async (socket: Socket, resolve: (query: Buffer) => Promise<Buffer | undefined>) => {
  for await (const query of messagesOf(socket)) {
    const answer = await resolve(query)
    if (answer === undefined) break
    socket.write(framed(answer))
  }
  socket.end()
}

const framed = (message: Buffer): Buffer => {
  const frame = Buffer.allocUnsafe(2 + message.length)
  frame.writeUInt16BE(message.length, 0)
  message.copy(frame, 2)
  return frame
}

/** Messages behind two bytes of length each, as DNS has them over TCP. */
async function* messagesOf(socket: Socket): AsyncGenerator<Buffer> {
  let pending: Buffer = Buffer.alloc(0)
  for await (const chunk of socket) {
    pending = Buffer.concat([pending, chunk as Buffer])
    while (pending.length >= 2 && pending.length >= 2 + pending.readUInt16BE(0)) {
      const end = 2 + pending.readUInt16BE(0)
      yield pending.subarray(2, end)
      pending = pending.subarray(end)
    }
  }
}

const nameServersOf = async ({ nameServers }: ResolverOptions): Promise<{ address: string; port: number }[]> => {
  const texts =
    nameServers.length > 0 ? nameServers : hostServers(await readFile("/etc/resolv.conf", "utf8").catch(() => ""))
  return texts.map((text) => {
    const [address = "", port] = isIP(text) === 6 ? [text] : text.split(":")
    return { address, port: Number(port ?? 53) }
  })
}

const hostServers = (text: string): string[] =>
  [...text.matchAll(/^nameserver\s+(\S+)/gm)].map(([, address]) => address ?? "")
