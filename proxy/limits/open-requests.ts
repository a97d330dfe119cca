import { EdgeError } from "../errors.ts"
import { createCounts } from "./counts.ts"

/** How many requests may be open at once: to one VM, with one token, and in all. */
export interface OpenRequestLimits {
  readonly maxRequestsPerVm: number
  readonly maxRequestsPerToken: number
  readonly maxRequests: number
}

export interface OpenRequests {
  /** Counts one in until what it returns is called, or throws an {@link EdgeError}: a VM's or a token's limit is its own, the edge's is everybody's. */
  enter(vmId: string, token: string | undefined): () => void
  readonly open: number
}

export const createOpenRequests = (limits: OpenRequestLimits): OpenRequests => {
  const ofVm = createCounts(limits.maxRequestsPerVm)
  const ofToken = createCounts(limits.maxRequestsPerToken)
  let open = 0
  return {
    enter(vmId, token) {
      if (!ofVm.add(vmId)) throw new EdgeError("TOO_MANY_REQUESTS")
      if (token !== undefined && !ofToken.add(token)) {
        ofVm.remove(vmId)
        throw new EdgeError("TOO_MANY_REQUESTS_OF_TOKEN")
      }
      // Last: a flood at one VM is refused as that VM's own, even when the whole edge is full.
      if (open >= limits.maxRequests) {
        ofVm.remove(vmId)
        if (token !== undefined) ofToken.remove(token)
        throw new EdgeError("OVERLOADED")
      }
      open++
      let isOver = false
      return () => {
        if (isOver) return
        isOver = true
        open--
        ofVm.remove(vmId)
        if (token !== undefined) ofToken.remove(token)
      }
    },
    get open() {
      return open
    },
  }
}
