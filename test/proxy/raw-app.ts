import { createServer, type Socket } from "node:net"
import { listen } from "./test-edge.ts"

export interface RawApp extends AsyncDisposable {
  readonly port: number
  /** The connections to it that are open. */
  readonly connections: Set<Socket>
  /** What each connection, ever, has sent. */
  readonly received: string[]
}

/** An application that is written byte by byte: `onData` gets all that a connection has sent so far, each time there is more. */
export const openRawApp = async (
  onData: (socket: Socket, received: string, connection: number) => void,
): Promise<RawApp> => {
  const connections = new Set<Socket>()
  const received: string[] = []
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const index = received.push("") - 1
    connections.add(socket)
    socket
      .setEncoding("latin1")
      .on("data", (data: string) => onData(socket, (received[index] += data), index))
      .on("end", () => socket.end())
      .on("error", () => {})
      .on("close", () => connections.delete(socket))
  })
  return {
    port: await listen(server),
    connections,
    received,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const socket of connections) socket.destroy()
      }),
  }
}
