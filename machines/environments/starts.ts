import { unlessAborted } from "../../src/abort.ts"

/** Environments that are being started, each until its first event is answered: somebody waits for it, and what nobody waits for is behind it. */
export interface Starts {
  /** One begins; it is over when this settles. */
  add(start: Promise<unknown>): void
  readonly count: number
  /** Resolves when there is none, or at the end of anybody's patience. */
  untilNone(patience: AbortSignal): Promise<void>
}

/** What nobody waits for is kept waiting so long: where something always is started, it is wanted most. */
export const STARTING_MS = 5000

export const createStarts = (): Starts => {
  const starting = new Set<Promise<unknown>>()
  return {
    add(start) {
      const over = start.catch(() => {}).finally(() => starting.delete(over))
      starting.add(over)
    },
    get count() {
      return starting.size
    },
    async untilNone(patience) {
      while (starting.size > 0 && !patience.aborted)
        await unlessAborted(Promise.all(starting), patience).catch(() => {})
    },
  }
}
