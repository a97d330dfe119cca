import { LRUCache } from "lru-cache"

const MS_PER_SECOND = 1000
/** What is summed up of fractions is not exact: nobody is refused for that. */
const ROUNDING_MS = 0.001
/** More than a host has VMs; what is forgotten was used longest ago, and is most likely full again. */
const MAX_KEYS = 10_000

export interface Rate {
  /** Whether the key may have one more now; what is refused costs it nothing. */
  take(key: string): boolean
}

/**
 * A token bucket for each key, which holds a second's worth: after a rest that many come at once, and never more in any second than
 * twice that. Of each bucket one number is kept, the time at which it is full again. `now` is in ms, of any clock that never goes back.
 */
export const createRate = (perSecond: number, now: () => number = () => performance.now()): Rate => {
  const fullAt = new LRUCache<string, number>({ max: MAX_KEYS })
  const intervalMs = MS_PER_SECOND / perSecond
  return {
    take(key) {
      const time = now()
      const next = Math.max(fullAt.get(key) ?? time, time) + intervalMs
      if (next - time > Math.max(MS_PER_SECOND, intervalMs) + ROUNDING_MS) return false
      fullAt.set(key, next)
      return true
    },
  }
}
