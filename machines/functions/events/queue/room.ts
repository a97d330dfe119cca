/** How much of this host a function's events may take, and all together. Counted in memory: one daemon alone writes its host's rows. */
import { throttled } from "../../invoking/refusals.ts"
import type { LaneName } from "./event.ts"

export interface EventLimits {
  readonly eventsPerFunction: number
  readonly bytesPerFunction: number
  readonly events: number
  readonly bytes: number
}

export interface Use {
  readonly events: number
  readonly bytes: number
}

export interface Room {
  /** Counts one more invocation of a function; throws AWS's 429 when there is no room for it. */
  take(functionId: string, bytes: number): void
  /** Counts what is there without asking: what was stored before, and what is told of events that had room. */
  add(lane: LaneName, use: Use): void
  give(lane: LaneName, use: Use): void
  /** So many results of this function's events wait to be delivered that no further event may run until some of them are. */
  isFull(functionId: string): boolean
  readonly total: Use
}

const NONE: Use = { events: 0, bytes: 0 }
/** Never below nothing: whether an event was stored is not known when the connection was lost in its commit. */
const plus = (one: Use, other: Use, sign: 1 | -1): Use => ({
  events: Math.max(0, one.events + sign * other.events),
  bytes: Math.max(0, one.bytes + sign * other.bytes),
})

/** Room of which nothing is taken; `left` is told of what is given back. */
export const createRoom = (limits: EventLimits, left: (use: Use) => void): Room => {
  const invocations = new Map<string, Use>()
  const records = new Map<string, Use>()
  let total = NONE

  const change = ({ functionId, kind }: Pick<LaneName, "functionId" | "kind">, use: Use, sign: 1 | -1) => {
    const byFunction = kind === "invocation" ? invocations : records
    const has = plus(byFunction.get(functionId) ?? NONE, use, sign)
    if (has.events > 0) byFunction.set(functionId, has)
    else byFunction.delete(functionId)
    total = plus(total, use, sign)
  }

  return {
    take(functionId, bytes) {
      const own = invocations.get(functionId) ?? NONE
      if (own.events >= limits.eventsPerFunction || own.bytes + bytes > limits.bytesPerFunction)
        throw throttled("FunctionInvocationRateLimitExceeded")
      if (total.events >= limits.events || total.bytes + bytes > limits.bytes)
        throw throttled("CallerRateLimitExceeded")
      change({ functionId, kind: "invocation" }, { events: 1, bytes }, 1)
    },
    add: (lane, use) => change(lane, use, 1),
    give(lane, use) {
      change(lane, use, -1)
      left(use)
    },
    isFull(functionId) {
      const { events, bytes } = records.get(functionId) ?? NONE
      return events >= limits.eventsPerFunction || bytes >= limits.bytesPerFunction
    },
    get total() {
      return total
    },
  }
}
