/** How many events are at work, of each function and of each account in a region. */
import type { Scope } from "../../../resources.ts"
import { throttled } from "../refusals.ts"
import type { Shares } from "./shares.ts"

export interface ConcurrencyRequest {
  readonly scope: Scope
  readonly functionId: string
  /** What the function has for itself, and no more than that. */
  readonly reserved: number | null
  readonly shares: Shares
}

export interface Concurrency {
  /** Counts one more; answers what counts it off again, to be called once. Throws AWS's 429 when there may be no more. */
  enter(request: ConcurrencyRequest): () => void
  readonly count: number
}

/** `limit` is each account's in a region. */
export const createConcurrency = (limit: number): Concurrency => {
  const accounts = new Map<string, Map<string, { count: number; isReserved: boolean }>>()
  let count = 0

  /** What functions without a reserved share take beyond what is provisioned for them, and what there is for that. */
  const pool = (
    active: ReadonlyMap<string, { count: number; isReserved: boolean }>,
    { reserved, provisioned }: Shares,
  ) => {
    let taken = 0
    for (const [id, one] of active) if (!one.isReserved) taken += Math.max(0, one.count - (provisioned.get(id) ?? 0))
    let size = limit - reserved
    for (const [id, kept] of provisioned) if (active.get(id)?.isReserved !== true) size -= kept
    return { taken, size }
  }

  return {
    enter({ scope, functionId, reserved, shares }) {
      const account = `${scope.account} ${scope.region}`
      const active = accounts.get(account) ?? new Map<string, { count: number; isReserved: boolean }>()
      const own = active.get(functionId) ?? { count: 0, isReserved: false }
      if (reserved !== null && own.count >= reserved)
        throw throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
      if (reserved === null && own.count >= (shares.provisioned.get(functionId) ?? 0)) {
        const { taken, size } = pool(active, shares)
        if (taken >= size) throw throttled("ConcurrentInvocationLimitExceeded")
      }
      own.count += 1
      own.isReserved = reserved !== null
      active.set(functionId, own)
      accounts.set(account, active)
      count += 1
      return () => {
        own.count -= 1
        count -= 1
        if (own.count === 0) active.delete(functionId)
        if (active.size === 0) accounts.delete(account)
      }
    },
    get count() {
      return count
    },
  }
}
