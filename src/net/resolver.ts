/**
 * The resolver of one slot: what a guest asks 169.254.169.253 arrives at the host's end of its link, on sockets that only it can reach,
 * and is forwarded to the host's name servers. Bounded in size, number and time; AAAA has no data, since guests have no IPv6.
 */
import { createSocket, type RemoteInfo } from "node:dgram"
import { once } from "node:events"
import { createServer, type Socket } from "node:net"
import { randomInt } from "node:crypto"
import { pipeline } from "node:stream/promises"
import type { Log } from "../log.ts"
import { messagesOf, toFrame } from "./dns-frames.ts"
import { answers, emptyAnswer, isRefusal, parseQuery, TYPE_AAAA, type Question } from "./dns-message.ts"
import { hostNameServers, type NameServer } from "./name-server.ts"
import { RESOLVER_PORT } from "./policy.ts"
import { askByTcp, askByUdp, type Ask } from "./upstream.ts"

export interface Resolver {
  close(): Promise<void>
}

export interface ResolverOptions {
  /** The host's end of the slot's link. */
  readonly address: string
  /** Asked in this order; empty: those of /etc/resolv.conf, as they are at each question. */
  readonly nameServers: readonly NameServer[]
  readonly log: Log
}

/** A name takes at most 255 bytes; the rest is room for options. */
const MAX_QUERY_BYTES = 1024
const MAX_IN_FLIGHT = 64
const MAX_TCP_CONNECTIONS = 8
/** For each name server. */
const UPSTREAM_TIMEOUT_MS = 3000
const TCP_IDLE_MS = 5000
const [HEADER_BYTES, SERVER_FAILURE, NO_DATA] = [12, 2, 0]

/** Opens the two sockets; the caller closes the resolver. */
export const openResolver = async (options: ResolverOptions): Promise<Resolver> => {
  const { address, log } = options
  const udp = createSocket("udp4")
  const connections = new Set<Socket>()
  const asking = new Set<AbortController>()
  let closed = false

  /** `undefined` for what is not answered at all. */
  const resolve = async (query: Buffer, ask: Ask): Promise<Buffer | undefined> => {
    const question = query.length > MAX_QUERY_BYTES ? undefined : parseQuery(query)
    if (question === undefined || asking.size >= MAX_IN_FLIGHT || closed) return undefined
    if (question.type === TYPE_AAAA) return emptyAnswer(query, question, NO_DATA)
    const stop = new AbortController()
    asking.add(stop)
    try {
      const servers = options.nameServers.length > 0 ? options.nameServers : await hostNameServers()
      return await forward(query, question, servers, ask, stop.signal)
    } finally {
      asking.delete(stop)
    }
  }

  udp.on("message", (query: Buffer, from: RemoteInfo) => {
    const failed = (error: unknown) => log.debug({ err: error }, "A name could not be asked for")
    void resolve(query, askByUdp)
      // It may have been closed meanwhile, and a closed socket throws.
      .then((answer) => {
        if (answer !== undefined && !closed)
          udp.send(answer, from.port, from.address, (error) => error !== null && failed(error))
      })
      .catch(failed)
  })

  const tcp = createServer({ allowHalfOpen: true }, (socket) => {
    connections.add(socket)
    socket.setTimeout(TCP_IDLE_MS, () => socket.destroy())
    socket.on("error", () => {})
    socket.once("close", () => connections.delete(socket))
    // No question is read before the answer to the last one found room: whoever doesn't read them gets no more.
    const answersOf = async function* (chunks: AsyncIterable<Buffer>) {
      for await (const query of messagesOf(chunks, MAX_QUERY_BYTES)) {
        const answer = await resolve(query, askByTcp)
        if (answer === undefined) return
        yield toFrame(answer)
      }
    }
    pipeline(socket, answersOf, socket).catch(() => socket.destroy())
  })
  tcp.maxConnections = MAX_TCP_CONNECTIONS

  try {
    udp.bind(RESOLVER_PORT, address)
    tcp.listen(RESOLVER_PORT, address)
    await Promise.all([once(udp, "listening"), once(tcp, "listening")])
  } catch (error) {
    udp.close()
    tcp.close()
    throw error
  }
  const failed = (error: Error) => log.warn({ err: error, address }, "A slot's resolver failed")
  udp.on("error", failed)
  tcp.on("error", failed)

  return {
    async close() {
      closed = true
      for (const stop of asking) stop.abort(new Error("The resolver is closed"))
      for (const socket of connections) socket.destroy()
      await Promise.all([
        new Promise<void>((done) => udp.close(done)),
        new Promise<void>((done) => tcp.close(() => done())),
      ])
    },
  }
}

/** Asks one name server after the other under an id of our own, until one has an answer; the last failure is better than none. */
const forward = async (
  query: Buffer,
  question: Question,
  servers: readonly NameServer[],
  ask: Ask,
  signal: AbortSignal,
): Promise<Buffer> => {
  const asked = Buffer.from(query)
  const id = randomInt(65536)
  asked.writeUInt16BE(id, 0)
  const name = query.subarray(HEADER_BYTES, question.end)
  let answer: Buffer | undefined
  for (const server of servers) {
    signal.throwIfAborted()
    const isAnswer = (message: Buffer) => answers(message, id, name)
    answer = (await inTime(signal, (limit) => ask(asked, server, isAnswer, limit)).catch(() => undefined)) ?? answer
    if (answer !== undefined && !isRefusal(answer)) break
  }
  if (answer === undefined) return emptyAnswer(query, question, SERVER_FAILURE)
  query.copy(answer, 0, 0, 2)
  return answer
}

/** Of its own timer, not of `AbortSignal.any` and `timeout`, which stay in memory for a while: a guest may ask thousands of times a second. */
const inTime = async <Value>(signal: AbortSignal, work: (limit: AbortSignal) => Promise<Value>): Promise<Value> => {
  const limit = new AbortController()
  const stop = () => limit.abort(signal.reason)
  const timer = setTimeout(() => limit.abort(new Error("The name server did not answer in time")), UPSTREAM_TIMEOUT_MS)
  signal.addEventListener("abort", stop, { once: true })
  try {
    return await work(limit.signal)
  } finally {
    clearTimeout(timer)
    signal.removeEventListener("abort", stop)
  }
}
