import { Agent, type ClientRequest } from "node:http"
import type { Socket } from "node:net"

/** The connections to one VM, each of a kind. */
export interface Pool {
  /** Kept open for the next request. */
  readonly kept: Agent
  /** New for each request: an upgrade's, or one that must not meet a connection that the application closes just now. */
  readonly fresh: Agent
  /** Those that became WebSockets; no agent knows of them. */
  readonly upgraded: Set<Socket>
  /** Its VM sleeps or is over: nothing may be sent to where it was. */
  isDropped: boolean
}

export interface Pools {
  of(vmId: string): Pool
  /** Closes every connection to a VM, in use or not: its address may be another's next, and no connection ever crosses VMs. */
  drop(vmId: string): void
  close(): void
}

const MAX_IDLE_CONNECTIONS = 16
/** How long a connection to a guest may take: it is on this host, so a full second is a sign. */
const CONNECT_TIMEOUT_MS = 5000

/** Pools of connections to guests, one for each VM. */
export const createPools = (): Pools => {
  const pools = new Map<string, Pool>()
  const drop = (vmId: string) => {
    const pool = pools.get(vmId)
    if (pool === undefined) return
    pools.delete(vmId)
    pool.isDropped = true
    pool.kept.destroy()
    pool.fresh.destroy()
    for (const socket of pool.upgraded) socket.destroy()
  }
  return {
    of(vmId) {
      const known = pools.get(vmId)
      if (known !== undefined) return known
      const pool = {
        kept: new Agent({ keepAlive: true, maxFreeSockets: MAX_IDLE_CONNECTIONS }),
        fresh: new Agent({ keepAlive: false }),
        upgraded: new Set<Socket>(),
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

/** Ends a request whose connection isn't accepted in time. */
export const limitConnect = (outgoing: ClientRequest): void => {
  const timer = setTimeout(
    () => outgoing.destroy(new Error("The guest did not accept the connection in time")),
    CONNECT_TIMEOUT_MS,
  )
  const clear = () => clearTimeout(timer)
  outgoing.once("close", clear)
  const { socket } = outgoing
  if (socket === null) outgoing.once("socket", (given) => given.once("connect", clear))
  else if (socket.connecting) socket.once("connect", clear)
  else clear()
}
