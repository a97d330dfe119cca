/**
 * Sockets of connections to Postgres. postgres.js (3.4) gathers what a turn of the event loop writes; a connection that closes before that
 * is sent keeps it, and believes for good that it will be: its next socket is opened, and nobody says a word on it until that times out.
 */
import { connect, type Socket } from "node:net"

/** What a client begins with, by its code: a start (the protocol's version), a cancellation, TLS. PostgreSQL's documentation, "Message Formats". */
const BEGINNINGS: readonly number[] = [196_608, 80_877_102, 80_877_103]
const CODE_AT = 4

const isBeginning = (bytes: Buffer) => bytes.length >= CODE_AT + 4 && BEGINNINGS.includes(bytes.readUInt32BE(CODE_AT))

/**
 * Opens one to a Unix socket. It closes without a word where the client is silent once it has it, or begins with what was meant for the
 * one before: the client opens another then, for the same query, and in the end begins anew.
 */
export const openConnectionSocket = (path: string): Socket => {
  const socket = connect(path)
  const write = socket.write.bind(socket)
  let hasBegun = false
  socket.write = (bytes: Buffer, ...more: []) => {
    // From here on it is a socket like any other.
    socket.write = write
    hasBegun = true
    if (isBeginning(bytes)) return write(bytes, ...more)
    socket.destroy()
    return false
  }
  // What is written in the turn that it is given in goes out in the next.
  setImmediate(setImmediate, () => {
    if (!hasBegun) socket.destroy()
  })
  return socket
}
