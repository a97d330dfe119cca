import type { Socket } from "node:net"
import { EdgeError } from "../errors.ts"
import { createCounts } from "./counts.ts"

/** How many connections may be open at once: to one VM, with one token, and in all. */
export interface ConnectionLimits {
  readonly maxConnectionsPerVm: number
  readonly maxConnectionsPerToken: number
  readonly maxConnections: number
}

/** The client's end of a connection, by which the socket that TLS is on and the one it is made of are known for the same. */
export type ConnectionEnd = Pick<Socket, "remoteAddress" | "remotePort">

export interface Connections {
  /** Counts a connection from its first byte on; when there are too many, one that is not in use makes way for it, or it is closed. */
  accept(socket: Socket): void
  /**
   * Says that a request was let in on a connection, or throws an {@link EdgeError}. A connection counts for a VM and a token from
   * their first request on it to its own end; it is in use until what this returns is called. Function URLs count like VMs.
   */
  use(connection: ConnectionEnd, vmId: string, token: string | undefined): () => void
  /** Closes those on which nobody was let in yet, but for these. */
  dropStrangers(except: Iterable<ConnectionEnd>): void
  readonly open: number
}

interface Connection {
  readonly socket: Socket
  readonly vms: Set<string>
  readonly tokens: Set<string>
  uses: number
  isOver: boolean
}

export const createConnections = (limits: ConnectionLimits): Connections => {
  const connections = new Map<string, Connection>()
  /** Nobody was let in on them yet; and those that are kept for a next request. The longest idle come first. */
  const [strangers, idle] = [new Set<Connection>(), new Set<Connection>()]
  let inUse = 0
  const ofVm = createCounts(limits.maxConnectionsPerVm)
  const ofToken = createCounts(limits.maxConnectionsPerToken)

  /** The one that is missed least: a flood of strangers costs strangers, and never a request that is under way. */
  const leastMissed = (newest: Connection): Connection => {
    for (const one of strangers) if (one !== newest) return one
    for (const one of idle) return one
    return newest
  }

  return {
    accept(socket) {
      const key = keyOf(socket)
      const connection: Connection = { socket, vms: new Set(), tokens: new Set(), uses: 0, isOver: false }
      connections.set(key, connection)
      strangers.add(connection)
      socket.once("close", () => {
        connection.isOver = true
        if (connections.get(key) === connection) connections.delete(key)
        strangers.delete(connection)
        idle.delete(connection)
        for (const vmId of connection.vms) ofVm.remove(vmId)
        for (const token of connection.tokens) ofToken.remove(token)
      })
      if (strangers.size + idle.size + inUse <= limits.maxConnections) return
      const least = leastMissed(connection)
      // It is closed a moment later; the next one is not to count on the same place.
      strangers.delete(least)
      idle.delete(least)
      least.socket.destroy()
    },
    use(end, vmId, token) {
      const connection = connections.get(keyOf(end))
      // It is closed already: whoever uses it will notice.
      if (connection === undefined || connection.isOver) return () => {}
      const { vms, tokens } = connection
      const [isNewVm, newToken] = [!vms.has(vmId), token === undefined || tokens.has(token) ? undefined : token]
      if (isNewVm && !ofVm.add(vmId)) throw new EdgeError("TOO_MANY_CONNECTIONS")
      if (newToken !== undefined && !ofToken.add(newToken)) {
        if (isNewVm) ofVm.remove(vmId)
        throw new EdgeError("TOO_MANY_CONNECTIONS_OF_TOKEN")
      }
      vms.add(vmId)
      if (newToken !== undefined) tokens.add(newToken)
      if (connection.uses++ === 0) inUse++
      strangers.delete(connection)
      idle.delete(connection)
      let isEnded = false
      return () => {
        if (isEnded) return
        isEnded = true
        if (--connection.uses > 0) return
        inUse--
        if (!connection.isOver) idle.add(connection)
      }
    },
    dropStrangers(except) {
      const kept = new Set(Array.from(except, keyOf))
      for (const { socket } of strangers) if (!kept.has(keyOf(socket))) socket.destroy()
    },
    get open() {
      return connections.size
    },
  }
}

const keyOf = ({ remoteAddress, remotePort }: ConnectionEnd) => `${remoteAddress} ${remotePort}`
