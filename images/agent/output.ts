import type { OutputFrame, ProcessEnd } from "../../src/agent/protocol.ts"

/** How much of what a process said is kept for who asks later. */
const KEPT_BYTES = 512 * 1024

export interface Output {
  add(stream: "stdout" | "stderr", data: string): void
  end(how: ProcessEnd): void
  /** Everything kept, then what follows, to the end. */
  follow(): AsyncGenerator<OutputFrame>
}

/** The bounded memory of one process's words: a flood loses its oldest, and says how much. The process never waits for a reader. */
export const createOutput = (): Output => {
  const frames: Extract<OutputFrame, { data: string }>[] = []
  let kept = 0
  /** The number of the first kept frame, counted from the process's beginning. */
  let first = 0
  let end: ProcessEnd | undefined
  let changed = Promise.withResolvers<void>()

  const wake = () => {
    changed.resolve()
    changed = Promise.withResolvers()
  }

  return {
    add(stream, data) {
      frames.push({ stream, data })
      kept += data.length
      while (kept > KEPT_BYTES && frames.length > 1) {
        kept -= frames.shift()?.data.length ?? 0
        first++
      }
      wake()
    },
    end(how) {
      end = how
      wake()
    },
    async *follow() {
      for (let next = 0; ;) {
        if (next < first) {
          yield { dropped: first - next }
          next = first
        }
        const frame = frames[next - first]
        if (frame !== undefined) {
          next++
          yield frame
        } else if (end !== undefined) {
          yield { end }
          return
        } else await changed.promise
      }
    },
  }
}
