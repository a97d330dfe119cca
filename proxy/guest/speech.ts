/**
 * How the application on a port speaks: asked at most once while its VM is awake, and only when it matters. Most speak HTTP/1.1 and
 * are never asked: a request without a body is simply sent, and only an answer that looks like another protocol's makes us ask.
 */
import { connect } from "node:net"
import { connect as connectTls } from "node:tls"
import type { LRUCache } from "lru-cache"
import type { Place } from "./place.ts"

export interface Speech {
  readonly isTls: boolean
  readonly isHttp2: boolean
}

/** What is known of the applications of one VM, by their ports. */
export type KnownSpeech = LRUCache<number, Speech | Promise<Speech>>

export const HTTP1: Speech = { isTls: false, isHttp2: false }

/** How long an application may look at a greeting: one that reads it as a line has an opinion at once. */
const SILENCE_MS = 1000

/** What is known, or what the application says when it is asked. */
export const speechOf = (known: KnownSpeech, place: Place): Speech | Promise<Speech> => {
  const { port } = place
  const speech = known.get(port)
  if (speech !== undefined) return speech
  const asked = askSpeech(place).then((told) => {
    if (known.peek(port) === asked) known.set(port, told)
    return told
  })
  known.set(port, asked)
  return asked
}

/**
 * Asks an application. It gets the beginning of a TLS handshake, and what it says first tells: TLS answers in records, HTTP/2 greets
 * with its settings before it reads anything, and whatever else it says or doesn't is HTTP/1.1's refusal of a bad line.
 */
const askSpeech = async (place: Place): Promise<Speech> => {
  const first = await firstBytes(place)
  if (first[0] === TLS_HANDSHAKE || first[0] === TLS_ALERT) return { isTls: true, isHttp2: await choosesHttp2(place) }
  // Length, type SETTINGS, flags, stream 0: RFC 9113, 3.4 and 4.1.
  if (first.length >= 9 && first[3] === 4 && first.readUInt32BE(5) === 0) return { isTls: false, isHttp2: true }
  return HTTP1
}

const [TLS_ALERT, TLS_HANDSHAKE] = [0x15, 0x16]

const firstBytes = ({ address: host, port, connectTimeoutMs }: Place) =>
  new Promise<Buffer>((resolve) => {
    const socket = connect({ host, port, noDelay: true })
    let first: Buffer = Buffer.alloc(0)
    const connecting = setTimeout(() => socket.destroy(), connectTimeoutMs)
    socket
      .once("connect", () => {
        clearTimeout(connecting)
        socket.setTimeout(SILENCE_MS, () => socket.destroy())
        socket.write(GREETING)
      })
      .on("data", (data: Buffer) => {
        first = Buffer.concat([first, data])
        // Enough for every answer that is looked for.
        if (first.length >= 9 || first[0] === TLS_HANDSHAKE || first[0] === TLS_ALERT) socket.destroy()
      })
      .on("error", () => {})
      .once("close", () => {
        clearTimeout(connecting)
        resolve(first)
      })
  })

const choosesHttp2 = ({ address: host, port, connectTimeoutMs }: Place) =>
  new Promise<boolean>((resolve) => {
    const socket = connectTls({ host, port, ALPNProtocols: ["h2", "http/1.1"], rejectUnauthorized: false })
    const stop = setTimeout(() => socket.destroy(), connectTimeoutMs)
    let chosen = false
    socket
      .once("secureConnect", () => {
        chosen = socket.alpnProtocol === "h2"
        socket.destroy()
      })
      .on("error", () => {})
      .once("close", () => {
        clearTimeout(stop)
        resolve(chosen)
      })
  })

/**
 * A ClientHello that every TLS server since 1.2 answers, with a hello, a retry or an alert. Its random bytes begin with two line ends: a
 * server that reads lines takes them for a bad request and says so, where it would wait for more of anything else.
 */
const GREETING = (() => {
  const block = (bytes: number, ...parts: (Buffer | number[])[]) => {
    const content = Buffer.concat(parts.map((part) => Buffer.from(part)))
    const length = Buffer.alloc(bytes)
    length.writeUIntBE(content.length, 0, bytes)
    return Buffer.concat([length, content])
  }
  const random = Buffer.alloc(32, 0x54)
  random.write("\r\n\r\n", "latin1")
  const suites = [0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0x009c, 0x002f]
  const extension = (type: number, content: Buffer) =>
    Buffer.concat([Buffer.from([type >> 8, type & 255]), block(2, content)])
  const extensions = [
    extension(0x000a, block(2, [0, 0x1d, 0, 0x17, 0, 0x18])), // groups: x25519, P-256, P-384
    extension(0x000d, block(2, [4, 3, 5, 3, 8, 4, 8, 5, 8, 6, 4, 1, 5, 1])), // signatures
    extension(0x002b, block(1, [3, 4, 3, 3])), // TLS 1.3, 1.2
    extension(0x0033, block(2, [])), // no key share: a server of TLS 1.3 asks again
  ]
  const hello = block(
    3,
    [3, 3],
    random,
    [0],
    block(
      2,
      suites.flatMap((suite) => [suite >> 8, suite & 255]),
    ),
    [1, 0],
    block(2, ...extensions),
  )
  return Buffer.concat([Buffer.from([TLS_HANDSHAKE, 3, 1]), block(2, [1], hello)])
})()
