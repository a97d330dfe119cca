import { and, asc, eq, gte, sql } from "drizzle-orm"
import { unlessAborted } from "../abort.ts"
import { logChunks, logs } from "../db/logs.ts"
import type { LogEntry } from "./entry.ts"
import type { LogDatabase } from "./logs.ts"

export interface LogReader {
  /** Up to `limit` lines from a line on, and where the next ones are. Lines that aren't kept are one notice. Fewer: there are no more now. */
  read(from: number, limit: number): Promise<{ readonly entries: LogEntry[]; readonly next: number }>
  /** Waits until there is this line or a later one; `false` when there will be none. */
  more(from: number, signal: AbortSignal): Promise<boolean>
}

/** Calls the listener whenever a log has changed, until what it returns is called. */
export type OnChange = (id: string, listener: () => void) => () => void

/** Chunks in memory at once, of 64 KiB at most. */
const CHUNKS_PER_READ = 4

/** Reads one log, kept or not. */
export const createLogReader = (db: LogDatabase, id: string, onChange: OnChange): LogReader => {
  const chunksFrom = (line: number) =>
    db
      .select()
      .from(logChunks)
      .where(
        and(
          eq(logChunks.logId, id),
          // The one that the line is in, if it is kept; by the key alone, so that a page costs the same wherever it is.
          gte(
            logChunks.firstLine,
            sql`coalesce((select max(first_line) from log_chunks where log_id = ${id} and first_line <= ${line}), ${line})`,
          ),
        ),
      )
      .orderBy(asc(logChunks.firstLine))
      .limit(CHUNKS_PER_READ)

  return {
    async read(from, limit) {
      const entries: LogEntry[] = []
      let next = from
      for (;;) {
        const chunks = await chunksFrom(next)
        for (const { firstLine, at, entries: text } of chunks) {
          if (entries.length === limit) break
          if (firstLine > next) {
            const words = `[${firstLine - next} lines are not kept]`
            entries.push({ line: next, at: at.toISOString(), stream: "notice", text: words })
            next = firstLine
          }
          const wanted = text
            .trimEnd()
            .split("\n")
            .slice(next - firstLine)
            .slice(0, limit - entries.length)
          for (const line of wanted) entries.push(JSON.parse(line) as LogEntry)
          next += wanted.length
        }
        if (chunks.length < CHUNKS_PER_READ || entries.length === limit) return { entries, next }
      }
    },
    async more(from, signal) {
      for (;;) {
        // Before the look: what changes after it is not missed.
        const change = Promise.withResolvers<void>()
        const stopListening = onChange(id, change.resolve)
        try {
          const [row] = await db
            .select({
              endedAt: logs.endedAt,
              lines: sql<number>`(select coalesce(max(first_line + lines), 0)::int from log_chunks where log_id = ${id})`,
            })
            .from(logs)
            .where(eq(logs.id, id))
          if (row === undefined) return false
          if (row.lines > from) return true
          if (row.endedAt !== null) return false
          await unlessAborted(change.promise, signal)
        } finally {
          stopListening()
        }
      }
    },
  }
}
