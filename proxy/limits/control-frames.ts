/** PING and SETTINGS: they belong to no request, so no request's limit holds them, and each is to be answered. */
import { constants, type Http2Session } from "node:http2"
import type { Socket } from "node:net"

const MS_PER_SECOND = 1000
/** What a connection may send at once, and what it gains with time. */
const [BURST, PER_SECOND] = [1000, 10]
/**
 * And with what it is sent: clients of gRPC measure a connection by one PING for each message that they get. An answer to a PING is less
 * than this, so that none pays for the next.
 */
const BYTES_EACH = 24

/** Counts what a connection sends of them; `now` is in ms, of any clock that never goes back. */
export const createControlBudget = (now: () => number = () => performance.now()) => {
  let [left, at, sent] = [BURST, now(), 0]
  return {
    /** Takes one, on a connection that was sent so many bytes in all; false when it is one too many. */
    take(bytesSent: number): boolean {
      const time = now()
      const gained = ((time - at) * PER_SECOND) / MS_PER_SECOND + (bytesSent - sent) / BYTES_EACH
      left = Math.min(BURST, left + gained) - 1
      at = time
      sent = bytesSent
      return left >= 0
    },
  }
}

/** Ends a connection that floods. Those who don't read the answers are ended by nghttp2 itself; these do. */
export const limitControlFrames = (session: Http2Session, socket: Pick<Socket, "bytesWritten">): void => {
  const budget = createControlBudget()
  const take = () => {
    if (!session.destroyed && !budget.take(socket.bytesWritten))
      session.destroy(new Error("A flood of PING or SETTINGS"), constants.NGHTTP2_ENHANCE_YOUR_CALM)
  }
  session.on("ping", take).on("remoteSettings", take)
}
