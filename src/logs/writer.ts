import { and, eq, isNull, sql } from "drizzle-orm"
import { logChunks, logs } from "../db/logs.ts"
import type { LogStream } from "./entry.ts"
import { createLines, type Lines } from "./lines.ts"
import type { Kept, LogDatabase, LogLimits, LogsOptions } from "./logs.ts"

export interface LogWriter {
  /** Pieces of what was said, wherever they were cut: lines are made of each stream's. */
  add(stream: LogStream, text: string): void
  /** Whether anything of it is kept. */
  isKept(): Promise<boolean>
  /** Resolves when all of it until now is in Postgres, lines without an end too. */
  flush(): Promise<void>
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
  readonly groupId: string
  nextLine: number
  bytes: number
  /** A clock may be set back; a log's lines stay in the order of their times. */
  lastAt: number
}

const FLUSH_AFTER_MS = 250
const RETRY_AFTER_MS = 2000
/** A row's, and at most that share of a log: what is cut is whole rows. */
const [CHUNK_BYTES, CHUNKS_PER_LOG] = [64 * 1024, 16]
/** What a row costs beside its text. */
const ROW_BYTES = 100
/** While Postgres doesn't take it. */
const MAX_PENDING_CHARACTERS = 4 * 1024 * 1024
/** From a row's first line to its last: who looks for a time need not look at rows that began longer before it. */
export const CHUNK_SPAN_MS = 60_000

/** Writes one log in batches; the first of them finds out whether it is kept. Nothing waits for it but `close`. */
export const createLogWriter = (
  { id, keeps }: { id: string; keeps: Kept },
  { db, limits, log }: LogsOptions,
  on: { written(groupId: string, bytes: number): void; closed(): void },
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
      const chunk = toChunk(pending, found, Math.min(CHUNK_BYTES, limits.bytesPerLog / CHUNKS_PER_LOG))
      // A try whose answer was lost may have written it.
      await db
        .insert(logChunks)
        .values({ logId: id, groupId: found.groupId, firstLine: found.nextLine, ...chunk })
        .onConflictDoNothing()
      for (const { text } of pending.splice(0, chunk.lines)) characters -= text.length
      found.nextLine += chunk.lines
      found.bytes += chunk.bytes
      found.lastAt = chunk.lastAt.getTime()
      if (found.bytes > limits.bytesPerLog) found.bytes = await cut(db, id, keeps, limits)
      on.written(found.groupId, chunk.bytes)
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

  const flush = async () => {
    for (const lines of streams.values()) lines.end()
    clearTimeout(timer)
    if (pending.length > 0) void write()
    await writing
  }

  return {
    flush,
    add(stream, text) {
      if (closed) return
      const lines = streams.get(stream) ?? createLines((line) => push(stream, line))
      streams.set(stream, lines)
      lines.add(text)
    },
    isKept: async () => (await open()) !== undefined,
    async close() {
      closed = true
      await flush()
      on.closed()
    },
  }
}

/** As many of the pending lines as make a chunk; the first in any case. */
const toChunk = (pending: readonly Pending[], { nextLine, lastAt: after }: State, maxBytes: number) => {
  let [entries, bytes, lines] = ["", ROW_BYTES, 0]
  const firstAt = Math.max(after, pending[0]?.at.getTime() ?? 0)
  let lastAt = firstAt
  for (const { at: heardAt, stream, text } of pending) {
    const at = Math.max(lastAt, heardAt.getTime())
    const entry = `${JSON.stringify({ line: nextLine + lines, at: new Date(at).toISOString(), stream, text })}\n`
    const entryBytes = Buffer.byteLength(entry)
    if (lines > 0 && (bytes + entryBytes > maxBytes || at - firstAt > CHUNK_SPAN_MS)) break
    lastAt = at
    entries += entry
    bytes += entryBytes
    lines++
  }
  return { lines, bytes, entries, at: new Date(firstAt), lastAt: new Date(lastAt) }
}

/** Where a log goes on; `undefined` when it isn't kept, or has ended. */
const openLog = async (db: LogDatabase, id: string): Promise<State | undefined> => {
  const [row] = await db
    .select({
      groupId: logs.groupId,
      nextLine: sql<number>`coalesce(max(${logChunks.firstLine} + ${logChunks.lines}), 0)::int`,
      bytes: sql<number>`coalesce(sum(${logChunks.bytes}), 0)::float8`,
      lastAt: sql<number>`coalesce(extract(epoch from max(${logChunks.lastAt})) * 1000, 0)::float8`,
    })
    .from(logs)
    .leftJoin(logChunks, eq(logChunks.logId, logs.id))
    .where(and(eq(logs.id, id), isNull(logs.endedAt)))
    .groupBy(logs.id)
  return row
}

/** Cuts a log to 7/8 of its limit, a quarter of the limit at its beginning if that is kept, and the rest at its end. Resolves with the bytes left. */
const cut = async (db: LogDatabase, id: string, keeps: Kept, { bytesPerLog }: LogLimits): Promise<number> => {
  const head = keeps === "both ends" ? Math.floor(bytesPerLog / 4) : 0
  const tail = Math.floor((bytesPerLog * 7) / 8) - head
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
