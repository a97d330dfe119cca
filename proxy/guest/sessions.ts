import {
  connect,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type ClientSessionRequestOptions,
  type OutgoingHttpHeaders,
} from "node:http2"
import { limitControlFrames } from "../limits/control-frames.ts"
import { limitConnecting } from "./place.ts"

/** The HTTP/2 connections to one VM: one for each port, and more of one whose application allows no more streams at once. */
export interface Sessions {
  /** Begins a stream on a connection that has room for it, new if it must be. */
  request(to: Http2Place, headers: OutgoingHttpHeaders, options: ClientSessionRequestOptions): ClientHttp2Stream
  /** Ends all of them, in use or not. */
  destroy(): void
}

export interface Http2Place {
  readonly address: string
  readonly port: number
  readonly isTls: boolean
  /** Told how long a new connection took, in ms. */
  readonly onConnect: (ms: number) => void
  readonly connectTimeoutMs: number
}

interface Session {
  readonly key: string
  readonly http2: ClientHttp2Session
  open: number
}

const IDLE_MS = 60_000
/** To all ports of a VM: whoever may send to one may often send to any. */
const MAX_SESSIONS = 64
/** HTTP/2's own default is 64 KiB for a whole connection: one large body would hold up all others. */
const [STREAM_WINDOW, SESSION_WINDOW] = [1024 * 1024, 4 * 1024 * 1024]

export const createSessions = (): Sessions => {
  /** Those that take new streams, oldest first. */
  const sessions = new Set<Session>()
  const all = new Set<ClientHttp2Session>()

  const open = (key: string, { address, port, isTls, connectTimeoutMs, onConnect }: Http2Place): Session => {
    const startedAt = performance.now()
    const http2 = connect(`${isTls ? "https" : "http"}://${address}:${port}`, {
      // A guest has no name that anybody vouches for: TLS is what it speaks, not what protects it.
      rejectUnauthorized: false,
      settings: { enablePush: false, initialWindowSize: STREAM_WINDOW },
    })
    const session: Session = { key, http2, open: 0 }
    const connecting = limitConnecting(
      connectTimeoutMs,
      () => http2.connecting,
      (cause) => http2.destroy(cause),
    )
    sessions.add(session)
    all.add(http2)
    http2
      .once("connect", () => {
        clearTimeout(connecting)
        onConnect(performance.now() - startedAt)
        http2.setLocalWindowSize(SESSION_WINDOW)
        limitControlFrames(http2, http2.socket)
      })
      // The streams on it tell.
      .on("error", () => {})
      .once("goaway", () => sessions.delete(session))
      .once("close", () => {
        clearTimeout(connecting)
        sessions.delete(session)
        all.delete(http2)
      })
      .setTimeout(IDLE_MS, () => {
        if (session.open === 0) http2.close()
      })
    return session
  }

  const makeRoom = () => {
    if (sessions.size < MAX_SESSIONS) return
    const idle = [...sessions].find((session) => session.open === 0)
    if (idle === undefined) throw new Error("The MicroVM has too many connections of HTTP/2")
    sessions.delete(idle)
    idle.http2.close()
  }

  return {
    request(to, headers, options) {
      const key = `${to.port} ${to.isTls}`
      let session = [...sessions].find((one) => one.key === key && hasRoom(one))
      if (session === undefined) {
        makeRoom()
        session = open(key, to)
      }
      const used = session
      used.open++
      return used.http2.request(headers, options).once("close", () => used.open--)
    },
    destroy() {
      for (const http2 of all) http2.destroy()
    },
  }
}

const hasRoom = ({ http2, open }: Session) =>
  !http2.closed &&
  !http2.destroyed &&
  open < (http2.connecting ? 100 : (http2.remoteSettings.maxConcurrentStreams ?? 100))
