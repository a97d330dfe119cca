/** HTTP/2's way in: its connections, each with many requests at once, and what a connection may make us do. */
import { randomUUID } from "node:crypto"
import {
  constants,
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2"
import type { TLSSocket } from "node:tls"
import { claimOf } from "../admission/claim.ts"
import { checkHttp2 } from "../admission/well-formed.ts"
import { sendRequest } from "../guest/send.ts"
import { limitControlFrames } from "../limits/control-frames.ts"
import { tlsOf } from "../exchange.ts"
import type { Serve } from "../passes.ts"
import { endWithoutHeartbeat } from "./heartbeat.ts"
import { createHttp2Exchange, type Http2Client } from "./http2-exchange.ts"

export interface Http2Entrance {
  /** Takes a connection that agreed on HTTP/2. */
  accept(socket: TLSSocket): void
  /** Says GOAWAY on every connection: what is under way ends, nothing new begins. */
  retire(): void
  /** Connections that are open: once retired, those with a request under way. */
  inUse(): readonly TLSSocket[]
  /** Ends every connection at once. */
  destroy(): void
}

export interface Http2Limits {
  readonly maxHeaderBytes: number
  /** How long a connection without a request is kept, or one whose client reads nothing. */
  readonly idleMs: number
}

const { NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_FLAG_END_STREAM } = constants
const MAX_CONCURRENT_STREAMS = 128
/** Bodies of a connection that wait to be read: HTTP/2's own 64 KiB would make each large upload wait for the way there and back. */
const [STREAM_WINDOW, SESSION_WINDOW] = [512 * 1024, 2 * 1024 * 1024]

export const openHttp2 = (serve: Serve, limits: Http2Limits): Http2Entrance => {
  const connections = new Map<ServerHttp2Session, TLSSocket>()
  const server = createServer({
    settings: {
      maxConcurrentStreams: MAX_CONCURRENT_STREAMS,
      maxHeaderListSize: limits.maxHeaderBytes,
      initialWindowSize: STREAM_WINDOW,
    },
    // In MiB: headers, and frames that wait to be sent.
    maxSessionMemory: 10,
    maxSettings: 32,
    maxSessionInvalidFrames: 100,
    maxSessionRejectedStreams: 100,
    // Requests that are taken back as soon as they are made cost us more than their sender: CVE-2023-44487.
    streamResetBurst: 200,
    streamResetRate: 20,
  })

  const onStream = (
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    flags: number,
    fields: readonly string[],
    client: Http2Client,
    onOver: () => void,
  ) => {
    // Our settings bind a client from when it says that it has them, which it need never say.
    const isTooLong = (some: readonly string[]) => sizeOf(some) > limits.maxHeaderBytes
    if (isTooLong(fields)) {
      stream
        .on("error", () => {})
        .once("close", onOver)
        .close(NGHTTP2_ENHANCE_YOUR_CALM)
      return
    }
    if ((flags & NGHTTP2_FLAG_END_STREAM) === 0)
      stream.on("trailers", (_trailers, _flags, late: string[]) => {
        if (!isTooLong(late)) return
        stream.close(NGHTTP2_ENHANCE_YOUR_CALM)
        // At once: the application would be sent the rest, and get a whole request.
        stream.destroy()
      })
    const { ":authority": authority, host } = headers
    const exchange = createHttp2Exchange({ stream, headers, fields, flags, client, requestId: randomUUID() })
    exchange.onOver(onOver)
    const toClaim = () => {
      checkHttp2(exchange.head, authority, host)
      return claimOf(exchange.head)
    }
    serve(exchange, toClaim, (at, pool) => {
      exchange.askForBody()
      return sendRequest(exchange, at, pool)
    })
  }

  const onSession = (session: ServerHttp2Session, socket: TLSSocket) => {
    const { remoteAddress, remotePort } = socket
    const client: Http2Client = { remoteAddress, remotePort, tls: () => tlsOf(socket) }
    let open = 0
    let closing: NodeJS.Timeout | undefined
    // Of requests, not of bytes: PINGs, or headers that never end, would keep a connection for good.
    const idle = setTimeout(() => {
      // The end of the last one begins it anew.
      if (open > 0) return
      session.close()
      // It waits for the client to close its end, who may not even read that we closed ours.
      closing = setTimeout(() => socket.destroy(), limits.idleMs)
    }, limits.idleMs)
    const leave = () => {
      if (--open === 0 && !socket.destroyed) idle.refresh()
    }
    connections.set(session, socket)
    socket.once("close", () => {
      clearTimeout(idle)
      clearTimeout(closing)
      connections.delete(session)
      // Node closes its streams, which waits for what was being written: for good, if the client had stopped reading.
      session.destroy()
    })
    session
      .on("error", () => {})
      .on("stream", (stream, headers, flags, fields) => {
        open++
        onStream(stream, headers, flags, fields, client, leave)
      })
    session.setLocalWindowSize(SESSION_WINDOW)
    limitControlFrames(session, socket)
    endWithoutHeartbeat(session, socket, () => open > 0, limits.idleMs)
  }

  server.on("sessionError", () => {})

  return {
    accept(socket) {
      // It is made before the next line is over.
      server.once("session", (session) => onSession(session, socket))
      server.emit("connection", socket)
    },
    retire() {
      for (const session of connections.keys()) session.close()
    },
    inUse: () => [...connections.values()],
    destroy() {
      // A session's own destroy() waits for what is being written.
      for (const socket of connections.values()) socket.destroy()
    },
  }
}

/** Of names and values in turn, as HTTP/2 counts them: RFC 9113, 6.5.2. */
const sizeOf = (fields: readonly string[]): number => {
  let size = 0
  for (const text of fields) size += text.length + 16
  return size
}
