export interface Turns {
  /** Resolves, first come first served, with what gives the turn back. */
  take(signal: AbortSignal): Promise<() => void>
}

/** At most `limit` at a time; the others wait. */
export const createTurns = (limit: number): Turns => {
  let taken = 0
  const waiting: (() => void)[] = []
  const next = () => {
    taken--
    waiting.shift()?.()
  }
  return {
    async take(signal) {
      signal.throwIfAborted()
      if (taken >= limit)
        await new Promise<void>((resolve, reject) => {
          waiting.push(resolve)
          signal.addEventListener("abort", () => {
            const at = waiting.indexOf(resolve)
            if (at !== -1) waiting.splice(at, 1)
            reject(signal.reason as Error)
          })
        })
      taken++
      let given = false
      return () => {
        if (given) return
        given = true
        next()
      }
    },
  }
}
