/** Counts by name; a count of zero takes no memory. */
export interface Counts {
  of(name: string): number
  /** Answers how many there are now. */
  add(name: string): number
  take(name: string): void
}

export const createCounts = (): Counts => {
  const counts = new Map<string, number>()
  const of = (name: string) => counts.get(name) ?? 0
  return {
    of,
    add(name) {
      const now = of(name) + 1
      counts.set(name, now)
      return now
    },
    take(name) {
      const now = of(name) - 1
      if (now > 0) counts.set(name, now)
      else counts.delete(name)
    },
  }
}
