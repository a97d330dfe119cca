import { createServer, type Socket } from "node:net"
import { listen } from "./test-edge.ts"

export interface RawApp extends AsyncDisposable {
  readonly port: number
  /** The connections to it that are open. */
  readonly connections: Set<Socket>
  /** What each connection that sent anything has sent. */
  readonly received: string[]
}

/** An application that is written byte by byte: `onData` gets all that a connection has sent so far, each time there is more. */
export const openRawApp = async (
  onData: (socket: Socket, received: string, connection: number) => void,
): Promise<RawApp> => {
  const connections = new Set<Socket>()
  const received: string[] = []
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    let index: number | undefined
    connections.add(socket)
    socket
      .setEncoding("latin1")
      .on("data", (data: string) => {
        // The edge asks how it speaks: not TLS.
        if (index === undefined && data.startsWith("\x16")) socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")
        else {
          index ??= received.push("") - 1
          onData(socket, (received[index] += data), index)
        }
      })
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
