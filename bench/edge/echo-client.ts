import { once } from "node:events"
import type { Errand } from "./client.ts"
import { openWebSocket } from "./connection.ts"

/** Text of 32 bytes: masked with zeros as a client's must be, and as a server sends it back. */
const SENT = Buffer.concat([Buffer.from([0x81, 0x80 | 32, 0, 0, 0, 0]), Buffer.alloc(32, "x")])
const BACK = 2 + 32

/** Sends a message over one WebSocket, waits until it is back, and sends the next; how long each took. */
export const echo = async (errand: Errand): Promise<number[]> => {
  const socket = await openWebSocket(errand)
  const took: number[] = []
  while (took.length < errand.count) {
    const startedAt = performance.now()
    socket.write(SENT)
    for (let bytes = 0; bytes < BACK;) bytes += ((await once(socket, "data")) as [Buffer])[0].length
    took.push(performance.now() - startedAt)
  }
  socket.destroy()
  return took
}
