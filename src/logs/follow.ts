import { and, asc, eq, gt, gte, sql } from "drizzle-orm"
import { LRUCache } from "lru-cache"
import { unlessAborted } from "../abort.ts"
import { logChunks, logs } from "../db/logs.ts"
import { chosen, eventsForward, eventsOf, type EventsWanted, type LogEvent } from "./events.ts"
import type { LogDatabase } from "./logs.ts"
import { comparePositions, positionAt } from "./position.ts"

/** Tells which log was just written to, until it is unsubscribed. */
export type Subscribe = (onWritten: (logId: string) => void) => () => void

/** Of one log at once, of 64 KiB at most: a flood doesn't keep the others waiting. */
const CHUNKS_PER_TURN = 4
/** Logs that a follower remembers whether they are its own; a forgotten one is looked up again. */
const MAX_REMEMBERED = 10_000

/**
 * Events from a place on, and then those that are written on this host, until `signal`: rejects with its reason. Each log goes on at its own next
 * line, so that none is missed that is stored later than another log's of a later time.
 */
export async function* followEvents(
  db: LogDatabase,
  wanted: Omit<EventsWanted, "until">,
  subscribe: Subscribe,
  signal: AbortSignal,
): AsyncGenerator<LogEvent> {
  const { groupId, streams, from } = wanted
  const nextLine = new Map<string, number>()
  const written = new Set<string>()
  const isOurs = new LRUCache<string, boolean>({ max: MAX_REMEMBERED })
  let woken = Promise.withResolvers<void>()

  const fresh = async (logId: string): Promise<LogEvent[]> => {
    const next = nextLine.get(logId) ?? 0
    const { firstLine, lines, at, lastAt, storedAt, entries } = logChunks
    const chunks = await db
      .select({ logId: logChunks.logId, firstLine, lines, at, lastAt, storedAt, entries, stream: logs.stream })
      .from(logChunks)
      .innerJoin(logs, eq(logs.id, logChunks.logId))
      .where(and(eq(logChunks.logId, logId), gt(sql`${firstLine} + ${lines}`, next), gte(lastAt, new Date(from.at))))
      .orderBy(asc(firstLine))
      .limit(CHUNKS_PER_TURN)
    if (chunks.length === CHUNKS_PER_TURN) written.add(logId)
    return chunks.flatMap(eventsOf).filter((event) => event.line >= next && comparePositions(event, from) >= 0)
  }
  const belongs = async (logId: string): Promise<boolean> => {
    const known = isOurs.get(logId)
    if (known !== undefined) return known
    const found = await db
      .select({ id: logs.id })
      .from(logs)
      .where(and(eq(logs.id, logId), eq(logs.groupId, groupId), chosen(streams)))
    isOurs.set(logId, found.length > 0)
    return found.length > 0
  }

  // Before the first look: what is written during it is not missed.
  const unsubscribe = subscribe((logId) => {
    written.add(logId)
    woken.resolve()
  })
  try {
    for await (const event of eventsForward(db, { ...wanted, until: positionAt(Infinity) })) {
      nextLine.set(event.logId, event.line + 1)
      yield event
    }
    for (;;) {
      if (written.size === 0) await unlessAborted(woken.promise, signal)
      signal.throwIfAborted()
      woken = Promise.withResolvers()
      const ids = [...written]
      written.clear()
      const events: LogEvent[] = []
      for (const id of ids) if (await belongs(id)) events.push(...(await fresh(id)))
      for (const event of events.toSorted(comparePositions)) {
        nextLine.set(event.logId, event.line + 1)
        yield event
      }
    }
  } finally {
    unsubscribe()
  }
}
