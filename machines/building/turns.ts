export interface Turns {
  /** Resolves, first come first served, with what gives the turn back. */
  take(signal: AbortSignal): Promise<() => void>
}

/** At most `limit` at a time; the others wait. */
export const createTurns = (limit: number): Turns => {
  let taken = 0
  const waiting: (() => void)[] = []
  // Handed over, not given back: whoever comes in between waits behind who was there before.
  const leave = () => {
    const next = waiting.shift()
    if (next === undefined) taken--
    else next()
  }
  const wait = (signal: AbortSignal) =>
    new Promise<void>((resolve, reject) => {
      const enter = () => {
        signal.removeEventListener("abort", giveUp)
        resolve()
      }
      const giveUp = () => {
        waiting.splice(waiting.indexOf(enter), 1)
        reject(signal.reason as Error)
      }
      waiting.push(enter)
      signal.addEventListener("abort", giveUp, { once: true })
    })
  return {
    async take(signal) {
      signal.throwIfAborted()
      if (taken < limit) taken++
      else await wait(signal)
      let given = false
      return () => {
        if (given) return
        given = true
        leave()
      }
    },
  }
}
