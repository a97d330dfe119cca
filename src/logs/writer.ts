import { and, eq, isNull, sql } from "drizzle-orm"
import { logChunks, logs } from "../db/schema.ts"
import type { LogStream } from "./entry.ts"
import { createLines, type Lines } from "./lines.ts"
import type { LogDatabase, LogLimits, LogsOptions } from "./logs.ts"

export interface LogWriter {
  /** Pieces of what was said, wherever they were cut: lines are made of each stream's. */
  add(stream: LogStream, text: string): void
  /** Whether anything of it is kept. */
  isKept(): Promise<boolean>
  /** Resolves when all of it is in Postgres, lines without an end too, and takes no more. */
  close(): Promise<void>
}

interface Pending {
  readonly at: Date
  readonly stream: LogStream
  readonly text: string
}

/** What the log has already. */
interface State {
  nextLine: number
  bytes: number
}

const FLUSH_AFTER_MS = 250
const RETRY_AFTER_MS = 2000
/** A row's, and at most that share of a log: what is cut is whole rows. */
const [CHUNK_BYTES, CHUNKS_PER_LOG] = [64 * 1024, 16]
/** What a row costs beside its text. */
const ROW_BYTES = 100
/** While Postgres doesn't take it. */
const MAX_PENDING_CHARACTERS = 4 * 1024 * 1024

/** Writes one log in batches; the first of them finds out whether it is kept. Nothing waits for it but `close`. */
export const createLogWriter = (
  id: string,
  { db, limits, log }: LogsOptions,
  on: { written(bytes: number): void; closed(): void },
): LogWriter => {
  const pending: Pending[] = []
  const streams = new Map<LogStream, Lines>()
  let characters = 0
  let lost = 0
  let closed = false
  let timer: NodeJS.Timeout | undefined
  let writing = Promise.resolve()
  let state: Promise<State | undefined> | undefined

  const open = (): Promise<State | undefined> =>
    (state ??= openLog(db, id).catch((error: unknown) => {
      state = undefined
      throw error
    }))

  const push = (stream: LogStream, text: string) => {
    if (characters > MAX_PENDING_CHARACTERS) {
      lost++
      return
    }
    if (lost > 0) pending.push({ at: new Date(), stream: "notice", text: `[${lost} lines were lost]` })
    lost = 0
    pending.push({ at: new Date(), stream, text })
    characters += text.length
    timer ??= setTimeout(write, FLUSH_AFTER_MS)
  }

  const drain = async () => {
    const found = await open()
    while (pending.length > 0 && found !== undefined) {
      const chunk = toChunk(pending, found.nextLine, Math.min(CHUNK_BYTES, limits.bytesPerLog / CHUNKS_PER_LOG))
      // A try whose answer was lost may have written it.
      await db
        .insert(logChunks)
        .values({ logId: id, firstLine: found.nextLine, ...chunk })
        .onConflictDoNothing()
      for (const { text } of pending.splice(0, chunk.lines)) characters -= text.length
      found.nextLine += chunk.lines
      found.bytes += chunk.bytes
      if (found.bytes > limits.bytesPerLog) found.bytes = await cutMiddle(db, id, limits)
      on.written(chunk.bytes)
    }
    if (found === undefined) pending.length = characters = 0
  }

  const write = () => {
    clearTimeout(timer)
    timer = undefined
    writing = writing.then(async () => {
      try {
        await drain()
      } catch (error) {
        log.warn({ id, err: error, lines: pending.length }, "Lines of a log could not be stored")
        if (!closed) timer ??= setTimeout(write, RETRY_AFTER_MS)
      }
    })
    return writing
  }

  return {
    add(stream, text) {
      if (closed) return
      const lines = streams.get(stream) ?? createLines((line) => push(stream, line))
      streams.set(stream, lines)
      lines.add(text)
    },
    isKept: async () => (await open()) !== undefined,
    async close() {
      if (!closed) for (const lines of streams.values()) lines.end()
      closed = true
      clearTimeout(timer)
      if (pending.length > 0) void write()
      await writing
      on.closed()
    },
  }
}

/** As many of the pending lines as make a chunk; the first in any case. */
const toChunk = (pending: readonly Pending[], firstLine: number, maxBytes: number) => {
  let [entries, bytes, lines] = ["", ROW_BYTES, 0]
  for (const { at, stream, text } of pending) {
    const entry = `${JSON.stringify({ line: firstLine + lines, at: at.toISOString(), stream, text })}\n`
    const entryBytes = Buffer.byteLength(entry)
    if (lines > 0 && bytes + entryBytes > maxBytes) break
    entries += entry
    bytes += entryBytes
    lines++
  }
  return { lines, bytes, entries, at: pending[0]?.at ?? new Date() }
}

/** Where a log goes on; `undefined` when it isn't kept, or has ended. */
const openLog = async (db: LogDatabase, id: string): Promise<State | undefined> => {
  const [row] = await db
    .select({
      nextLine: sql<number>`coalesce(max(${logChunks.firstLine} + ${logChunks.lines}), 0)::int`,
      bytes: sql<number>`coalesce(sum(${logChunks.bytes}), 0)::float8`,
    })
    .from(logs)
    .leftJoin(logChunks, eq(logChunks.logId, logs.id))
    .where(and(eq(logs.id, id), isNull(logs.endedAt)))
    .groupBy(logs.id)
  return row
}

/** Cuts a log to 7/8 of its limit: a quarter of the limit at its beginning stays, and the rest at its end. Resolves with the bytes left. */
const cutMiddle = async (db: LogDatabase, id: string, { bytesPerLog }: LogLimits): Promise<number> => {
  const [head, tail] = [Math.floor(bytesPerLog / 4), Math.floor((bytesPerLog * 5) / 8)]
  await db.execute(sql`
    delete from log_chunks using (
      select first_line, sum(bytes) over (order by first_line) as upto, sum(bytes) over (order by first_line desc) as onward
      from log_chunks where log_id = ${id}
    ) as counted
    where log_chunks.log_id = ${id} and log_chunks.first_line = counted.first_line and upto > ${head} and onward > ${tail}`)
  const [row] = await db
    .select({ bytes: sql<number>`coalesce(sum(${logChunks.bytes}), 0)::float8` })
    .from(logChunks)
    .where(eq(logChunks.logId, id))
  return row?.bytes ?? 0
}
