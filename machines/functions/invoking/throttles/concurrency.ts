/** How many events are at work, of each function and of each account in all regions. */
import type { ServiceError } from "../../../../src/errors.ts"
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

/** The place of one event. */
export interface Permit {
  /** The event's answer is whole: its place is free soon, where nothing else is done after it. */
  answered(): void
  /** To be called once, when the event is settled. */
  leave(): void
}

export interface Concurrency {
  /**
   * Counts one more. Rejects with AWS's 429 when there may be no more: at once, or, where an event of the function has its answer and is
   * about to leave, when it hasn't so soon. A caller who waits for each answer before its next event has one place.
   */
  enter(request: ConcurrencyRequest, signal: AbortSignal): Promise<Permit>
  readonly count: number
}

/** How long an event waits for the place of one that has just been answered: as long as a refused caller is told to wait. */
const SETTLING_MS = 1000

interface Own {
  count: number
  isReserved: boolean
  /** Of `count`, those that have their answer. */
  settling: number
  /** Who waits for one of them; each takes the place if it may have it now. */
  readonly waiting: Set<() => boolean>
}

type Active = ReadonlyMap<string, Own>

/** `limit` is each account's. */
export const createConcurrency = (limit: number): Concurrency => {
  const accounts = new Map<string, Map<string, Own>>()
  let count = 0

  /** What functions without a reserved share take beyond what is provisioned for them, and what there is for that. */
  const pool = (active: Active, { reserved, provisioned }: Shares) => {
    let taken = 0
    for (const [id, one] of active) if (!one.isReserved) taken += Math.max(0, one.count - (provisioned.get(id) ?? 0))
    let size = limit - reserved
    for (const [id, kept] of provisioned) if (active.get(id)?.isReserved !== true) size -= kept
    return { taken, size }
  }

  const refusalOf = (
    { functionId, reserved, shares }: ConcurrencyRequest,
    active: Active,
    own: Own,
  ): ServiceError | undefined => {
    if (reserved !== null)
      return own.count >= reserved ? throttled("ReservedFunctionConcurrentInvocationLimitExceeded") : undefined
    if (own.count < (shares.provisioned.get(functionId) ?? 0)) return undefined
    const { taken, size } = pool(active, shares)
    return taken >= size ? throttled("ConcurrentInvocationLimitExceeded") : undefined
  }

  const begin = ({ scope, functionId, reserved }: ConcurrencyRequest, active: Map<string, Own>, own: Own): Permit => {
    own.count += 1
    own.isReserved = reserved !== null
    active.set(functionId, own)
    accounts.set(scope.account, active)
    count += 1
    let isAnswered = false
    return {
      answered() {
        isAnswered = true
        own.settling += 1
      },
      leave() {
        own.count -= 1
        count -= 1
        if (isAnswered) own.settling -= 1
        for (const take of own.waiting) if (take()) break
        if (own.count === 0) active.delete(functionId)
        if (active.size === 0) accounts.delete(scope.account)
      },
    }
  }

  return {
    async enter(request, signal) {
      const active = accounts.get(request.scope.account) ?? new Map<string, Own>()
      const own = active.get(request.functionId) ?? { count: 0, isReserved: false, settling: 0, waiting: new Set() }
      const refusal = refusalOf(request, active, own)
      if (refusal === undefined) return begin(request, active, own)
      if (own.waiting.size >= own.settling) throw refusal
      const free = Promise.withResolvers<Permit>()
      const take = () => {
        if (refusalOf(request, active, own) !== undefined) return false
        own.waiting.delete(take)
        free.resolve(begin(request, active, own))
        return true
      }
      const giveUp = (why: unknown) => {
        own.waiting.delete(take)
        free.reject(why)
      }
      const onAbort = () => giveUp(signal.reason)
      signal.throwIfAborted()
      signal.addEventListener("abort", onAbort, { once: true })
      const timer = setTimeout(giveUp, SETTLING_MS, refusal)
      own.waiting.add(take)
      try {
        return await free.promise
      } finally {
        clearTimeout(timer)
        signal.removeEventListener("abort", onAbort)
      }
    },
    get count() {
      return count
    },
  }
}
