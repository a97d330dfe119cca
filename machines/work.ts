/**
 * What verbs are at work on. A statechart that is let go of aborts its verbs, and what they undo then takes its time and what they were
 * given: whoever closes that waits for them.
 */
export interface Work {
  /** The same verbs, counted from their call until they have settled. Each must come to its end once it is aborted. */
  count<Verbs extends object>(verbs: Verbs): Verbs
  /** Resolves when none is at work any more, or after this time; answers how many still are. */
  settled(patienceMs: number): Promise<number>
}

type Verb = (...given: never[]) => Promise<unknown>

/** Counts verbs, of any number of statecharts. */
export const createWork = (): Work => {
  const running = new Set<Promise<unknown>>()
  const counted =
    (verb: Verb): Verb =>
    (...given) => {
      const work = verb(...given)
      running.add(work)
      const done = () => void running.delete(work)
      work.then(done, done)
      return work
    }
  return {
    count: <Verbs extends object>(verbs: Verbs) =>
      Object.fromEntries(Object.entries(verbs).map(([name, verb]) => [name, counted(verb as Verb)])) as Verbs,
    async settled(patienceMs) {
      let timer: NodeJS.Timeout | undefined
      const patience = new Promise<void>((resolve) => (timer = setTimeout(resolve, patienceMs)))
      await Promise.race([Promise.allSettled(running), patience])
      clearTimeout(timer)
      return running.size
    },
  }
}
