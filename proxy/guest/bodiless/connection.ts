import { connect, type Socket } from "node:net"
import { connect as connectTls } from "node:tls"
import type { IncomingHttpHeaders } from "node:http"
import { limitConnecting } from "../place.ts"
import type { AnswerHead } from "./answer-head.ts"
import { createAnswerReader } from "./answer-reader.ts"

/** What becomes of one request. */
export interface AnswerListener {
  onInformation(status: number, headers: IncomingHttpHeaders): void
  onHead(head: AnswerHead, whole: Buffer | undefined): void
  onData(bytes: Buffer): void
  onEnd(trailers: IncomingHttpHeaders): void
  /** Nothing more will come of it; the connection is closed. */
  onFailure(cause: Error): void
  /** The application changed protocols, as it was asked to: the socket, paused, is the listener's, and the connection is over. */
  onUpgrade?(head: AnswerHead, socket: Socket): void
  /** Once, however it ends and before it is told: bytes into the guest and out of it. */
  onBytes(written: number, read: number): void
}

/** A request that was sent. Once its answer is whole nothing here does anything: the connection is another's. */
export interface Sent {
  /** Reads no more of the answer for now, or goes on. */
  pause(): void
  resume(): void
  /** Gives it up, and the connection with it; nothing more is said of it but its bytes. */
  cut(): void
}

/** A connection to an application, of HTTP/1.1, with one request at a time. */
export interface Connection {
  /** Sends a head that ends with its empty line; it may ask for an upgrade where the listener takes one. */
  send(head: string, method: string, listener: AnswerListener): Sent
  /** Closes it; the request on it, if there is one, fails. */
  destroy(): void
  /** It has carried a request before. */
  readonly isReused: boolean
  readonly isOver: boolean
}

export interface ConnectionOptions {
  readonly address: string
  readonly port: number
  readonly connectTimeoutMs: number
  readonly isTls: boolean
  readonly onConnect: (ms: number) => void
  /** Its request is answered, and the application takes another one, for so long at most. */
  readonly onIdle: (keepAliveMs: number | undefined) => void
  readonly onOver: () => void
}

/**
 * What every connection reads into: it is looked at, or copied, before the next one reads. Three records of TLS; a copy is less than
 * what malloc maps anew each time (see src/cli/torpor).
 */
const READ = Buffer.allocUnsafeSlow(48 * 1024)

/** What Node's client says of a connection that ends without an answer. */
const hungUp = () => Object.assign(new Error("The application closed the connection"), { code: "ECONNRESET" })

export const openConnection = (options: ConnectionOptions): Connection => {
  const { address: host, port, connectTimeoutMs, isTls, onConnect, onIdle, onOver } = options
  const startedAt = performance.now()
  const reading: Reading = { take: (bytes) => onData(bytes) }
  const place = { host, port, noDelay: true, onread: toOnRead(reading) }
  const socket: Socket = isTls
    ? // A guest has no name that anybody vouches for: TLS is what it speaks, not what protects it.
      connectTls({ ...place, rejectUnauthorized: false, ALPNProtocols: ["http/1.1"] })
    : connect(place)
  let listener: AnswerListener | undefined
  let keepAliveMs: number | undefined
  let [requests, written, read] = [0, 0, 0]
  let [isConnected, isPaused, isOver] = [false, false, false]
  let failure: Error | undefined

  /** Takes the listener: from here on nothing is its request's. */
  const leave = () => {
    const left = listener
    listener = undefined
    left?.onBytes(isConnected ? written : 0, read)
    return left
  }
  const fail = (cause: unknown) => {
    failure ??= cause as Error
    socket.destroy()
    leave()?.onFailure(failure)
  }

  const reader = createAnswerReader({
    onInformation: (status, headers) => listener?.onInformation(status, headers),
    onHead(head, whole) {
      keepAliveMs = head.keepAliveMs
      listener?.onHead(head, whole)
    },
    onData: (bytes) => listener?.onData(bytes),
    onEnd(trailers, isPersistent) {
      leave()?.onEnd(trailers)
      if (!isPersistent || socket.destroyed) {
        socket.destroy()
        return
      }
      if (isPaused) resume()
      onIdle(keepAliveMs)
    },
    onUpgrade(head, rest) {
      clearTimeout(connecting)
      socket.off("end", onFin).off("error", onError).off("close", onClose).pause()
      reading.take = pushTo(socket)
      if (rest.length > 0) socket.unshift(rest)
      isOver = true
      const left = leave()
      onOver()
      left?.onUpgrade?.(head, socket)
    },
  })
  const resume = () => {
    isPaused = false
    socket.resume()
  }

  const onData = (bytes: Buffer) => {
    read += bytes.length
    try {
      reader.take(bytes)
    } catch (error) {
      fail(error)
    }
    return true
  }
  const onFin = () => {
    try {
      reader.close()
      socket.destroy()
    } catch (error) {
      // Without a word it closed a connection that it had kept, maybe: that may be asked again.
      fail(read === 0 ? hungUp() : error)
    }
  }
  const onError = (error: Error) => void (failure ??= error)
  const onClose = () => {
    clearTimeout(connecting)
    isOver = true
    fail(failure ?? hungUp())
    onOver()
  }
  const connecting = limitConnecting(connectTimeoutMs, () => !isConnected && !socket.destroyed, fail)
  socket
    .once(isTls ? "secureConnect" : "connect", () => {
      clearTimeout(connecting)
      isConnected = true
      onConnect(performance.now() - startedAt)
    })
    .on("end", onFin)
    .on("error", onError)
    .on("close", onClose)

  return {
    send(head, method, next) {
      requests++
      ;[written, read] = [head.length, 0]
      listener = next
      reader.expect(method, next.onUpgrade !== undefined)
      socket.write(head, "latin1")
      const isUnderWay = () => listener === next
      return {
        pause() {
          if (!isUnderWay()) return
          isPaused = true
          socket.pause()
        },
        resume() {
          if (isUnderWay() && isPaused) resume()
        },
        cut() {
          if (!isUnderWay()) return
          leave()
          socket.destroy()
        },
      }
    },
    destroy() {
      if (!isOver) fail(new Error("The connection was closed"))
    },
    get isReused() {
      return requests > 1
    },
    get isOver() {
      return isOver || socket.destroyed
    },
  }
}

/** Who takes what is read; false when it can take no more. */
interface Reading {
  take: (bytes: Buffer) => boolean
}

// Made out here: a WebSocket would keep what they see as long as it lives.

const toOnRead = (reading: Reading) => ({
  buffer: READ,
  callback(length: number) {
    const bytes = Buffer.allocUnsafe(length)
    READ.copy(bytes, 0, 0, length)
    return reading.take(bytes)
  },
})

/** As a stream is read. */
const pushTo = (socket: Socket) => (bytes: Buffer) => socket.push(bytes)
