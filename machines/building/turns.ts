export interface Turns {
  /** Resolves, first come first served, with what gives the turn back. While it waits, `ahead` is told how many are before it. */
  take(signal: AbortSignal, ahead?: (count: number) => void): Promise<() => void>
}

/** At most `limit` at a time; the others wait. */
export const createTurns = (limit: number): Turns => {
  let taken = 0
  const waiting: { enter: () => void; ahead: (count: number) => void }[] = []
  const tellFrom = (first: number) => {
    for (const [index, { ahead }] of waiting.entries()) if (index >= first) ahead(index)
  }
  // Handed over, not given back: whoever comes in between waits behind who was there before.
  const leave = () => {
    const next = waiting.shift()
    if (next === undefined) taken--
    else next.enter()
    tellFrom(0)
  }
  const wait = (signal: AbortSignal, ahead: (count: number) => void) =>
    new Promise<void>((resolve, reject) => {
      const enter = () => {
        signal.removeEventListener("abort", giveUp)
        resolve()
      }
      const giveUp = () => {
        const place = waiting.indexOf(me)
        waiting.splice(place, 1)
        tellFrom(place)
        reject(signal.reason as Error)
      }
      const me = { enter, ahead }
      waiting.push(me)
      tellFrom(waiting.length - 1)
      signal.addEventListener("abort", giveUp, { once: true })
    })
  return {
    async take(signal, ahead = () => {}) {
      signal.throwIfAborted()
      if (taken < limit) taken++
      else await wait(signal, ahead)
      let given = false
      return () => {
        if (given) return
        given = true
        leave()
      }
    },
  }
}
