/** One question to one name server, by UDP or by TCP. Both end with the signal, whose reason they throw, and leave no socket behind. */
import { createSocket } from "node:dgram"
import { once } from "node:events"
import { connect, isIP } from "node:net"
import { messagesOf, toFrame } from "./dns-frames.ts"
import type { NameServer } from "./name-server.ts"

/** Resolves with the first message that is an answer. */
export type Ask = (
  query: Buffer,
  server: NameServer,
  isAnswer: (message: Buffer) => boolean,
  signal: AbortSignal,
) => Promise<Buffer>

const MAX_ANSWER_BYTES = 65_535

export const askByUdp: Ask = async (query, { address, port }, isAnswer, signal) => {
  // A socket a question, connected: its port is as random as its id, and the kernel drops what others send.
  const socket = createSocket(isIP(address) === 6 ? "udp6" : "udp4")
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  signal.addEventListener("abort", () => reject(signal.reason), { once: true })
  socket.on("message", (message) => isAnswer(message) && resolve(message))
  // Before it is connected, and after: nothing listens on that port, or no route leads there.
  socket.on("error", reject)
  socket.once("connect", () => socket.send(query))
  try {
    socket.connect(port, address)
    return await promise
  } finally {
    socket.close()
  }
}

export const askByTcp: Ask = async (query, { address, port }, isAnswer, signal) => {
  const socket = connect(port, address)
  // It fails by the wait that it ends; this is for the time between two of them.
  socket.on("error", () => {})
  const stop = () => socket.destroy(signal.reason as Error)
  signal.addEventListener("abort", stop, { once: true })
  try {
    await once(socket, "connect")
    socket.write(toFrame(query))
    for await (const message of messagesOf(socket, MAX_ANSWER_BYTES)) if (isAnswer(message)) return message
    throw new Error("The name server closed the connection")
  } finally {
    socket.destroy()
  }
}
