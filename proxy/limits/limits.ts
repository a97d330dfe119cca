/** What a VM, a token and strangers may take of the edge, put together: each request enters by here, once it is known whose it is. */
import { LRUCache } from "lru-cache"
import { EdgeError } from "../errors.ts"
import { createPace, type Pace } from "./bandwidth.ts"
import { createConnections, type ConnectionEnd, type ConnectionLimits, type Connections } from "./connections.ts"
import { createOpenRequests, type OpenRequestLimits } from "./open-requests.ts"
import { createRate } from "./rate.ts"

export interface RequestLimits extends OpenRequestLimits, ConnectionLimits {
  /** Unlimited when left out, like the next. */
  readonly requestsPerSecondPerVm?: number | undefined
  readonly bandwidthMiBPerSecondPerVm?: number | undefined
}

/** What a VM's bodies and WebSockets may carry, each way. */
export interface Paces {
  readonly toGuest: Pace
  readonly toClient: Pace
}

export interface Limits {
  readonly connections: Connections
  /** Counts a request in until what it returns is called, or throws an {@link EdgeError} that says whose limit is reached. */
  enter(connection: ConnectionEnd, vmId: string, token: string | undefined): () => void
  /** `undefined` where nothing is configured: nothing is in the way then. */
  pacesOf(vmId: string): Paces | undefined
}

const BYTES_PER_MIB = 1024 * 1024
/** More than a host has VMs. */
const MAX_PACED_VMS = 10_000

export const createLimits = (limits: RequestLimits): Limits => {
  const { requestsPerSecondPerVm, bandwidthMiBPerSecondPerVm } = limits
  const connections = createConnections(limits)
  const requests = createOpenRequests(limits)
  const rate = requestsPerSecondPerVm === undefined ? undefined : createRate(requestsPerSecondPerVm)
  const paces = new LRUCache<string, Paces>({ max: MAX_PACED_VMS })
  return {
    connections,
    enter(connection, vmId, token) {
      if (rate?.take(vmId) === false) throw new EdgeError("TOO_MANY_REQUESTS_PER_SECOND")
      const leave = requests.enter(vmId, token)
      try {
        const endUse = connections.use(connection, vmId, token)
        return () => {
          leave()
          endUse()
        }
      } catch (error) {
        leave()
        throw error
      }
    },
    pacesOf(vmId) {
      if (bandwidthMiBPerSecondPerVm === undefined) return undefined
      const known = paces.get(vmId)
      if (known !== undefined) return known
      const bytesPerSecond = bandwidthMiBPerSecondPerVm * BYTES_PER_MIB
      const made = { toGuest: createPace(bytesPerSecond), toClient: createPace(bytesPerSecond) }
      paces.set(vmId, made)
      return made
    },
  }
}
