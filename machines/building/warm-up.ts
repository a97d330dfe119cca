import { connect } from "node:net"

/**
 * A request that asks for nothing: `OPTIONS *` is HTTP's own no-op, and an expectation that nobody can meet makes most servers (Node's
 * and Go's among them) refuse it themselves, so that no handler of the application sees it.
 */
const REQUEST = "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nExpect: torpor-warm-up\r\nConnection: close\r\n\r\n"
const PATIENCE_MS = 3000

/**
 * Lets an application that is ready take one connection before its base is taken: what a server does for the first time then, each of
 * its clones has done. Resolves when it has answered or closed, or doesn't speak HTTP; what it says is not read.
 */
export const warmUp = (address: string, port: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const socket = connect({ host: address, port, signal })
    const done = () => {
      socket.destroy()
      resolve()
    }
    socket
      .setTimeout(PATIENCE_MS, done)
      .once("connect", () => socket.write(REQUEST))
      .once("data", done)
      .once("error", done)
      .once("close", done)
  })
