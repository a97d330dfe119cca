import { and, asc, desc, eq, gt, gte, inArray, lte, sql, type SQL } from "drizzle-orm"
import { logChunks, logs } from "../db/logs.ts"
import type { LogEntry } from "./entry.ts"
import type { LogDatabase } from "./logs.ts"
import { comparePositions, type Position } from "./position.ts"
import { CHUNK_SPAN_MS } from "./writer.ts"

/** A line of one of many logs, and its place among them. */
export interface LogEvent extends Position {
  /** The stream's name. */
  readonly stream: string
  readonly text: string
  /** When it was stored, in milliseconds. */
  readonly storedAt: number
}

/** Some of a group's streams; all of them when nothing is said. */
export interface StreamChoice {
  readonly names?: readonly string[] | undefined
  readonly prefix?: string | undefined
}

export interface EventsWanted {
  readonly groupId: string
  readonly streams: StreamChoice
  /** From a place on, and up to another. */
  readonly from: Position
  readonly until: Position
}

type Chunk = Pick<
  typeof logChunks.$inferSelect,
  "logId" | "firstLine" | "lines" | "at" | "lastAt" | "storedAt" | "entries"
> & {
  readonly stream: string
}

/** Chunks that are fetched at once, of 64 KiB at most: as many as make so many bytes, as far as the last ones tell. */
const [MIN_CHUNKS, MAX_CHUNKS, BYTES_PER_READ] = [8, 1024, 512 * 1024]

/** What holds for logs of these streams. */
export const chosen = ({ names, prefix }: StreamChoice): SQL | undefined =>
  and(
    names === undefined ? undefined : inArray(logs.stream, [...names]),
    prefix === undefined ? undefined : sql`starts_with(${logs.stream}, ${prefix})`,
  )

/** Events in the order of their times, the oldest first; those of a log in the order of its lines. */
export async function* eventsForward(db: LogDatabase, wanted: EventsWanted): AsyncGenerator<LogEvent> {
  const { from, until } = wanted
  const chunks = chunksOf(db, wanted, {
    range: [gt(logChunks.at, new Date(from.at - CHUNK_SPAN_MS)), gte(logChunks.lastAt, new Date(from.at))],
    order: [asc(logChunks.at), asc(logChunks.logId), asc(logChunks.firstLine)],
    after: ({ at, logId, firstLine }) =>
      sql`(${logChunks.at}, ${logChunks.logId}, ${logChunks.firstLine}) > (${at.toISOString()}::timestamptz, ${logId}::uuid, ${firstLine}::int)`,
  })
  const begins = ({ at, logId, firstLine }: Chunk): Position => ({ at: at.getTime(), logId, line: firstLine })
  for await (const event of merged(chunks, begins, comparePositions)) {
    if (comparePositions(event, until) >= 0) return
    if (comparePositions(event, from) >= 0) yield event
  }
}

/** Events against the order of their times, the newest first. */
export async function* eventsBackward(db: LogDatabase, wanted: EventsWanted): AsyncGenerator<LogEvent> {
  const { from, until } = wanted
  const chunks = chunksOf(db, wanted, {
    range: [gte(logChunks.lastAt, new Date(from.at))],
    order: [desc(logChunks.lastAt), desc(logChunks.logId), desc(logChunks.firstLine)],
    after: ({ lastAt, logId, firstLine }) =>
      sql`(${logChunks.lastAt}, ${logChunks.logId}, ${logChunks.firstLine}) < (${lastAt.toISOString()}::timestamptz, ${logId}::uuid, ${firstLine}::int)`,
  })
  const ends = ({ lastAt, logId, firstLine, lines }: Chunk): Position => ({
    at: lastAt.getTime(),
    logId,
    line: firstLine + lines - 1,
  })
  for await (const event of merged(chunks, ends, (one, other) => comparePositions(other, one))) {
    if (comparePositions(event, from) < 0) return
    if (comparePositions(event, until) < 0) yield event
  }
}

async function* chunksOf(
  db: LogDatabase,
  { groupId, streams, until }: EventsWanted,
  { range, order, after }: { range: SQL[]; order: SQL[]; after: (chunk: Chunk) => SQL },
): AsyncGenerator<Chunk> {
  const { logId, firstLine, lines, at, lastAt, storedAt, entries } = logChunks
  let limit = MIN_CHUNKS
  for (let last: Chunk | undefined; ;) {
    const chunks: Chunk[] = await db
      .select({ logId, firstLine, lines, at, lastAt, storedAt, entries, stream: logs.stream })
      .from(logChunks)
      .innerJoin(logs, eq(logs.id, logId))
      .where(
        and(
          // Of named streams the chunks are found by their logs; of all others, in the order in which the group has them.
          eq(streams.names === undefined ? logChunks.groupId : logs.groupId, groupId),
          lte(at, new Date(until.at)),
          ...range,
          chosen(streams),
          last === undefined ? undefined : after(last),
        ),
      )
      .orderBy(...order)
      .limit(limit)
    yield* chunks
    last = chunks.at(-1)
    if (chunks.length < limit) return
    const characters = chunks.reduce((sum, chunk) => sum + chunk.entries.length, 0)
    limit = Math.min(MAX_CHUNKS, Math.max(MIN_CHUNKS, Math.floor((BYTES_PER_READ * chunks.length) / characters)))
  }
}

/** The events of chunks that are ordered by their nearest, which overlap where several logs spoke at once. */
async function* merged(
  chunks: AsyncIterable<Chunk>,
  nearest: (chunk: Chunk) => Position,
  compare: (one: Position, other: Position) => number,
): AsyncGenerator<LogEvent> {
  let held: LogEvent[] = []
  for await (const chunk of chunks) {
    const bound = nearest(chunk)
    // Nothing that comes later is nearer than this chunk's nearest.
    const before = held.findIndex((event) => compare(event, bound) >= 0)
    const ready = before === -1 ? held : held.slice(0, before)
    yield* ready
    held = [...held.slice(ready.length), ...eventsOf(chunk)].toSorted(compare)
  }
  yield* held
}

/** The lines of a chunk. */
export const eventsOf = ({ logId, entries, storedAt, stream }: Chunk): LogEvent[] =>
  entries
    .trimEnd()
    .split("\n")
    .map((json) => {
      const { line, at, text } = JSON.parse(json) as LogEntry
      return { at: Date.parse(at), logId, line, stream, text, storedAt: storedAt.getTime() }
    })
