/**
 * Where a life's programs reach the agent: one port for HTTP and for channels, which stays from one life to the next. What speaks HTTP, and
 * all that HTTP needs, is made for the first connection of a life that is no channel: our own runtimes open none.
 */
import { once } from "node:events"
import type { Server as HttpServer } from "node:http"
import { createServer, type AddressInfo, type Socket } from "node:net"
import { greet, type Channels } from "./runtime-channel.ts"

export interface ProgramPort {
  readonly port: number
  /**
   * Serves the connections of a life, the first being the channel that has waited for it, if one does. One life at a time. Answers what
   * ends that: none of its connections is left when it resolves, and a runtime that waits may connect for the next.
   */
  enter(channels: Channels, createHttp: () => HttpServer): () => Promise<void>
  /** Nothing listens and no connection is left when it resolves. */
  close(): Promise<void>
}

/** A runtime and ten extensions, each with some connections, and clients that have lost theirs. */
const MAX_CONNECTIONS = 128
const NOTHING = Buffer.alloc(0)

/** Listens; `port` is 0 for any that is free. Whoever opens it closes it. */
export const openProgramPort = async ({
  address,
  port,
}: {
  readonly address: string
  readonly port: number
}): Promise<ProgramPort> => {
  const connections = new Set<Socket>()
  /** Of the life that there is: takes a connection by its first bytes. */
  let take: ((connection: Socket, first: Buffer) => void) | undefined
  /** A channel between two lives. */
  let ahead: Socket | undefined

  const keep = (connection: Socket, first: Buffer) => {
    // Whoever wants more than to wait has come too late, or too early.
    const isWaiting = greet(connection, first)?.length === 0
    const other = isWaiting ? ahead : connection
    if (isWaiting) ahead = connection.pause()
    other?.destroy()
  }

  const server = createServer({ allowHalfOpen: true, noDelay: true }, (connection) => {
    connections.add(connection)
    connection.on("error", () => {}).once("close", () => connections.delete(connection))
    connection.once("data", (first) => (take ?? keep)(connection, first))
  })
  server.maxConnections = MAX_CONNECTIONS
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(port, address, resolve)
  })

  const disconnect = async () => {
    const closed = [...connections].map((connection) => once(connection, "close"))
    for (const connection of connections) connection.destroy()
    await Promise.all(closed)
  }

  return {
    port: (server.address() as AddressInfo).port,
    enter(channels, createHttp) {
      if (take !== undefined) throw new Error("Another life has the port")
      let http: HttpServer | undefined
      const mine = (connection: Socket, first: Buffer) => {
        const behind = greet(connection, first)
        if (behind !== undefined) return channels.serve(connection, behind)
        http ??= createHttp().on("connect", channels.take)
        connection.pause()
        connection.unshift(first)
        http.emit("connection", connection)
        connection.resume()
      }
      take = mine
      if (ahead?.destroyed === false) {
        channels.serve(ahead, NOTHING)
        ahead.resume()
      }
      ahead = undefined
      return async () => {
        if (take !== mine) return
        take = undefined
        await disconnect()
      }
    },
    async close() {
      const closed = once(server, "close")
      server.close()
      await disconnect()
      await closed
    },
  }
}
