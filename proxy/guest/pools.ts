import { Agent as HttpAgent, type ClientRequest } from "node:http"
import { Agent as HttpsAgent } from "node:https"
import type { Socket } from "node:net"
import { LRUCache } from "lru-cache"
import { createConnections, type Connections } from "./bodiless/connections.ts"
import type { Meter } from "../metrics.ts"
import { limitConnecting, REST_MS } from "./place.ts"
import { createSessions, type Sessions } from "./sessions.ts"
import type { KnownSpeech, Speech } from "./speech.ts"

/** The connections to one VM, each of a kind. */
export interface Pool {
  /** For requests without a body, and for upgrades. */
  readonly connections: Connections
  /** For requests with one; kept open for the next, for a moment. */
  readonly kept: Agents
  /** Of HTTP/2. */
  readonly sessions: Sessions
  /** Those that became WebSockets; nobody else knows of them. */
  readonly upgraded: Set<Socket>
  /** What is known of how the application on a port speaks. */
  readonly speech: KnownSpeech
  /** Its VM sleeps or is over: nothing may be sent to where it was. */
  isDropped: boolean
}

export interface Agents {
  readonly plain: HttpAgent
  readonly tls: HttpsAgent
}

export interface Pools {
  of(vmId: string): Pool
  /** Closes every connection to a VM, in use or not: its address may be another's next, and no connection ever crosses VMs. */
  drop(vmId: string): void
  close(): void
}

const MAX_IDLE_CONNECTIONS = 256
const KNOWN_PORTS = 256

/** Pools of connections to guests, one for each VM. */
export const createPools = (): Pools => {
  const pools = new Map<string, Pool>()
  const drop = (vmId: string) => {
    const pool = pools.get(vmId)
    if (pool === undefined) return
    pools.delete(vmId)
    pool.isDropped = true
    pool.kept.plain.destroy()
    pool.kept.tls.destroy()
    pool.connections.destroy()
    pool.sessions.destroy()
    for (const socket of pool.upgraded) socket.destroy()
  }
  return {
    of(vmId) {
      const known = pools.get(vmId)
      if (known !== undefined) return known
      const pool = {
        connections: createConnections(),
        kept: createAgents({ keepAlive: true, maxFreeSockets: MAX_IDLE_CONNECTIONS, timeout: REST_MS }),
        sessions: createSessions(),
        upgraded: new Set<Socket>(),
        speech: new LRUCache<number, Speech | Promise<Speech>>({ max: KNOWN_PORTS }),
        isDropped: false,
      }
      pools.set(vmId, pool)
      return pool
    },
    drop,
    close() {
      for (const vmId of pools.keys()) drop(vmId)
    },
  }
}

const createAgents = (options: ConstructorParameters<typeof HttpAgent>[0]): Agents => ({
  plain: watchIdle(new HttpAgent(options)),
  // A guest has no name that anybody vouches for: TLS is what it speaks, not what protects it.
  tls: watchIdle(new HttpsAgent({ ...options, rejectUnauthorized: false })),
})

/** Closes a connection on which an application speaks unasked: what it says would be taken for the next request's answer. */
const watchIdle = <Kind extends HttpAgent>(agent: Kind): Kind => {
  const close = function (this: Socket) {
    this.destroy()
  }
  const [keep, reuse] = [agent.keepSocketAlive.bind(agent), agent.reuseSocket.bind(agent)]
  return Object.assign(agent, {
    keepSocketAlive(socket: Socket) {
      socket.on("data", close)
      return keep(socket)
    },
    reuseSocket(socket: Socket, request: ClientRequest) {
      socket.off("data", close)
      reuse(socket, request)
    },
  })
}

/**
 * Ends a request whose connection isn't accepted in time, and tells how long one took that is; one that gets a kept connection may take
 * as long as it needs.
 */
export const limitConnect = (outgoing: ClientRequest, timeoutMs: number, meter: Meter): void => {
  const limit = (socket: Socket) => {
    if (!socket.connecting) return
    const startedAt = performance.now()
    const timer = limitConnecting(
      timeoutMs,
      () => socket.connecting,
      (cause) => outgoing.destroy(cause),
    )
    const clear = () => clearTimeout(timer)
    outgoing.once("close", clear)
    socket.once("connect", () => {
      clear()
      meter.connected(performance.now() - startedAt)
    })
  }
  if (outgoing.socket === null) outgoing.once("socket", limit)
  else limit(outgoing.socket)
}

/** Counts what a connection carries for one exchange, until what it returns is called. */
export const meterSocket = (socket: Socket, meter: Meter): (() => void) => {
  const { bytesWritten, bytesRead } = socket
  let isConnected = !socket.connecting
  if (!isConnected) socket.once("connect", () => (isConnected = true))
  return () => {
    if (!isConnected) return
    meter.carried("in", socket.bytesWritten - bytesWritten)
    meter.carried("out", socket.bytesRead - bytesRead)
  }
}
