/** Counts by a key, none of which goes over the same limit; a key that is at zero again is forgotten. */
export interface Counts {
  /** Counts one more; `false`, and nothing counted, when the key is at its limit. */
  add(key: string): boolean
  remove(key: string): void
  /** How many keys are counted now. */
  readonly size: number
}

export const createCounts = (max: number): Counts => {
  const counts = new Map<string, number>()
  return {
    add(key) {
      const count = counts.get(key) ?? 0
      if (count >= max) return false
      counts.set(key, count + 1)
      return true
    },
    remove(key) {
      const count = counts.get(key) ?? 0
      if (count > 1) counts.set(key, count - 1)
      else counts.delete(key)
    },
    get size() {
      return counts.size
    },
  }
}
