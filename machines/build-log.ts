import type { Log } from "../src/log.ts"
import { buildLogLines } from "../src/db/schema.ts"
import type { Database } from "./vm-row.ts"

export interface BuildLog {
  /** Text of one or more lines. */
  add(text: string): void
  /** Resolves when all of it is in Postgres. */
  flush(): Promise<void>
}

/** A build that says more is cut: its author sees the beginning, and that it was cut. */
const MAX_LINES = 20_000
const FLUSH_AFTER_MS = 250
const BATCH = 500

/** The log of one build, kept line by line, written in batches. */
export const createBuildLog = (db: Database, buildId: string, log: Log): BuildLog => {
  const pending: { buildId: string; line: number; at: Date; text: string }[] = []
  let next = 0
  let timer: NodeJS.Timeout | undefined
  let writing = Promise.resolve()

  const write = () => {
    timer = undefined
    writing = writing.then(async () => {
      while (pending.length > 0)
        try {
          await db.insert(buildLogLines).values(pending.splice(0, BATCH)).onConflictDoNothing()
        } catch (error) {
          log.warn({ buildId, err: error }, "Lines of a build's log were lost")
        }
    })
  }

  return {
    add(text) {
      for (const line of text.split("\n")) {
        if (next > MAX_LINES) return
        // Postgres takes no NUL in a text.
        const shown = next === MAX_LINES ? "[the log is cut here]" : line.replaceAll("\0", "\uFFFD")
        pending.push({ buildId, line: next++, at: new Date(), text: shown })
      }
      timer ??= setTimeout(write, FLUSH_AFTER_MS)
    },
    async flush() {
      clearTimeout(timer)
      write()
      await writing
    },
  }
}
