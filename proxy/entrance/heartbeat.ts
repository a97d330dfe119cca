import type { ServerHttp2Session } from "node:http2"
import type { TLSSocket } from "node:tls"

/**
 * Ends a connection in use whose client is gone, or reads no longer: for `intervalMs` it doesn't answer a PING, and takes nothing else.
 * TCP says so late or, of a client whose host is there, never; and Node doesn't hear it at all while a write waits: it has stopped
 * reading then, and behind one write of TLS that failed the next waits for good.
 */
export const endWithoutHeartbeat = (
  session: ServerHttp2Session,
  socket: TLSSocket,
  isInUse: () => boolean,
  intervalMs: number,
): void => {
  let isAsked = false
  let written = 0
  const beat = setInterval(() => {
    if (isAsked && socket.bytesWritten === written) socket.destroy()
    else if (isInUse() && !session.destroyed) {
      if (!isAsked) isAsked = session.ping(() => (isAsked = false))
      written = socket.bytesWritten
    }
  }, intervalMs)
  socket.once("close", () => clearInterval(beat))
}
