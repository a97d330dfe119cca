import { LRUCache } from "lru-cache"

/** How often something may be done, by name. After a rest as much as `burst` may be done at once. */
export interface Rates {
  /** Counts one; answers 0, or in how many seconds there may be one when there may be none now. */
  take(name: string, perSecond: number, burst: number): number
}

/** Names that rest are forgotten after so many others: what they had is full again by then, or nearly so. */
const MAX_NAMES = 10_000

/** `now` is a clock in milliseconds that is never set back. */
export const createRates = (now: () => number = () => performance.now()): Rates => {
  const buckets = new LRUCache<string, { left: number; at: number }>({ max: MAX_NAMES })
  return {
    take(name, perSecond, burst) {
      const at = now()
      const bucket = buckets.get(name) ?? { left: burst, at }
      const left = Math.min(burst, bucket.left + ((at - bucket.at) / 1000) * perSecond)
      const isThere = left >= 1
      buckets.set(name, { left: isThere ? left - 1 : left, at })
      return isThere ? 0 : (1 - left) / perSecond
    },
  }
}
