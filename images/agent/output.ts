import type { OutputFrame, ProcessEnd } from "../../src/agent/protocol.ts"

/** How much of what a process said is kept for who asks later. */
const KEPT_CHARACTERS = 512 * 1024
/** What a piece costs beside its text: a process may say one character at a time. */
const PIECE_CHARACTERS = 64
/** How much a reader takes at once. */
const TAKEN_CHARACTERS = 64 * 1024

export interface OutputReader {
  /** Where it stands, in characters from the process's beginning. */
  readonly at: number
  /** What comes next of what is there: nothing when it has all been taken. */
  take(): OutputFrame[]
}

export interface Output {
  /** All that was said so far, kept or not, in characters. */
  readonly said: number
  add(stream: "stdout" | "stderr", data: string): void
  end(how: ProcessEnd): void
  /** From the oldest that is kept: from the beginning, when nothing was lost yet. */
  read(): OutputReader
  /** Tells a listener what is said from now on, in the turn in which it is said, and the end, after what is kept if it wants that. Answers what ends it. */
  listen(onFrame: (frame: OutputFrame) => void, wantsKept: boolean): () => void
  /** Everything kept, then what follows, to the end. */
  follow(): AsyncGenerator<OutputFrame>
}

/** The bounded memory of one process's words: a flood loses its oldest, and says how much. The process never waits for a reader. */
export const createOutput = (onAdded = () => {}): Output => {
  const pieces: Extract<OutputFrame, { data: string }>[] = []
  let kept = 0
  let said = 0
  /** The first kept piece: its number, and where it begins. */
  let [first, firstAt] = [0, 0]
  let end: ProcessEnd | undefined
  let changed = Promise.withResolvers<void>()
  const listeners = new Set<(frame: OutputFrame) => void>()

  const tell = (frame: OutputFrame) => {
    for (const listener of listeners) listener(frame)
    changed.resolve()
    changed = Promise.withResolvers()
  }

  const output: Output = {
    get said() {
      return said
    },
    add(stream, data) {
      const piece = { stream, data }
      pieces.push(piece)
      said += data.length
      kept += data.length + PIECE_CHARACTERS
      while (kept > KEPT_CHARACTERS && pieces.length > 1) {
        const lost = pieces.shift()?.data.length ?? 0
        kept -= lost + PIECE_CHARACTERS
        firstAt += lost
        first++
      }
      onAdded()
      tell(piece)
    },
    end(how) {
      end = how
      tell({ end })
    },
    read() {
      let [next, at] = [0, 0]
      return {
        get at() {
          return at
        },
        take() {
          const taken: OutputFrame[] = []
          if (next < first) {
            taken.push({ dropped: firstAt - at })
            ;[next, at] = [first, firstAt]
          }
          const enough = at + TAKEN_CHARACTERS
          for (let piece = pieces[next - first]; piece !== undefined && at < enough; piece = pieces[next - first]) {
            taken.push(piece)
            at += piece.data.length
            next++
          }
          return taken
        },
      }
    },
    listen(onFrame, wantsKept) {
      const reader = output.read()
      for (let taken = wantsKept ? reader.take() : []; taken.length > 0; taken = reader.take()) taken.forEach(onFrame)
      if (end !== undefined) onFrame({ end })
      listeners.add(onFrame)
      return () => void listeners.delete(onFrame)
    },
    async *follow() {
      const reader = output.read()
      for (;;) {
        const taken = reader.take()
        yield* taken
        if (taken.length > 0) continue
        if (end !== undefined) {
          yield { end }
          return
        }
        await changed.promise
      }
    },
  }
  return output
}
