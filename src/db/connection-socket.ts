/**
 * Sockets of connections to Postgres. postgres.js (3.4) gathers what a turn of the event loop writes; a connection that closes before that
 * is sent keeps it, and believes for good that it will be: its next socket is opened, and nobody says a word on it until that times out.
 */
import { Socket } from "node:net"

/** Where a server listens. */
export type Place = { readonly path: string } | { readonly host: string; readonly port: number }

/** What a client begins with, by its code: a start (the protocol's version), a cancellation, TLS. PostgreSQL's documentation, "Message Formats". */
const BEGINNINGS: readonly number[] = [196_608, 80_877_102, 80_877_103]
const CODE_AT = 4

const isBeginning = (bytes: Buffer) => bytes.length >= CODE_AT + 4 && BEGINNINGS.includes(bytes.readUInt32BE(CODE_AT))

/**
 * Makes what opens sockets to a server that is at one of some places: all at the same, until one that was opened there has closed. The next
 * ones are at the next place then: a server that is gone, or is the wrong one of several, is told by its connection's end alone.
 */
export const createConnectionSockets = (places: readonly [Place, ...Place[]]): (() => Socket) => {
  const [first] = places
  let current = 0
  return () => {
    const at = current
    return openConnectionSocket(places[at] ?? first, () => {
      if (current === at) current = (at + 1) % places.length
    })
  }
}

/**
 * It connects with its first word, as a client begins. It closes without one where the client is silent once it has it, or begins with what
 * was meant for the one before: the client opens another then, for the same query, and in the end begins anew.
 */
const openConnectionSocket = (place: Place, onEnd: () => void): Socket => {
  // Under the name that it has here, a client that is to look at a server's certificate looks for it there.
  const socket = Object.assign(new Socket(), place)
  const write = socket.write.bind(socket)
  const destroy = socket._destroy.bind(socket)
  let hasBegun = false
  socket.write = (bytes: Buffer, ...more: []) => {
    // From here on it is a socket like any other.
    socket.write = write
    hasBegun = true
    if (!isBeginning(bytes)) {
      socket.destroy()
      return false
    }
    // Its listeners are taken away when it comes to speak TLS.
    socket._destroy = (error, done) => {
      onEnd()
      destroy(error, done)
    }
    socket.connect(place)
    return write(bytes, ...more)
  }
  // What is written in the turn that it is given in goes out in the next.
  setImmediate(setImmediate, () => {
    if (!hasBegun) socket.destroy()
  })
  return socket
}
