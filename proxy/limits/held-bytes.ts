/** Bytes that the edge holds in memory for requests: so many in all, and of them at most half for one key. */
export interface HeldBytes {
  /** Begins to count for one request. */
  open(key: string): Holding
  /** Held now. */
  readonly bytes: number
}

export interface Holding {
  /** Counts more; `own` when its key has reached its share, `all` when everything is held, and then nothing is counted. */
  take(bytes: number): "own" | "all" | undefined
  /** Gives back all that it took; more may be taken afterwards. */
  release(): void
}

export const createHeldBytes = (maxBytes: number): HeldBytes => {
  const ofKey = new Map<string, number>()
  let all = 0
  return {
    open(key) {
      let own = 0
      return {
        take(bytes) {
          const ofKeyNow = ofKey.get(key) ?? 0
          if (ofKeyNow + bytes > maxBytes / 2) return "own"
          if (all + bytes > maxBytes) return "all"
          own += bytes
          all += bytes
          ofKey.set(key, ofKeyNow + bytes)
          return undefined
        },
        release() {
          all -= own
          const left = (ofKey.get(key) ?? 0) - own
          if (left > 0) ofKey.set(key, left)
          else ofKey.delete(key)
          own = 0
        },
      }
    },
    get bytes() {
      return all
    },
  }
}
