/**
 * Where a life's programs reach the agent: one port for HTTP and for channels. What speaks HTTP, and all that HTTP needs, is made for the
 * first connection that is no channel: our own runtimes open none.
 */
import type { Server as HttpServer } from "node:http"
import { createServer, type AddressInfo, type Socket } from "node:net"
import type { Channels } from "./runtime-channel.ts"

export interface ProgramPort {
  readonly port: number
  /** Nothing listens and no connection is left when it resolves. */
  close(): Promise<void>
}

/** A runtime and ten extensions, each with some connections, and clients that have lost theirs. */
const MAX_CONNECTIONS = 128

/** Listens; `port` is 0 for any that is free. `createHttp` makes a server that listens nowhere. Whoever opens it closes it. */
export const openProgramPort = async (
  { address, port }: { readonly address: string; readonly port: number },
  channels: Channels,
  createHttp: () => HttpServer,
): Promise<ProgramPort> => {
  const connections = new Set<Socket>()
  let http: HttpServer | undefined
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (connection) => {
    connections.add(connection)
    connection.on("error", () => {}).once("close", () => connections.delete(connection))
    connection.once("data", (first) => {
      if (channels.begin(connection, first)) return
      http ??= createHttp().on("connect", channels.take)
      connection.pause()
      connection.unshift(first)
      http.emit("connection", connection)
      connection.resume()
    })
  })
  server.maxConnections = MAX_CONNECTIONS
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(port, address, resolve)
  })
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      for (const connection of connections) connection.destroy()
      await closed
    },
  }
}
