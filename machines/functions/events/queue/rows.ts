/**
 * The queue's rows. A table of our own: pg-boss and graphile-worker each bring a second driver with a pool, know one rule of retries a job and
 * hand jobs out without regard to whose they are; and a host's one daemon is the only one that takes its rows, so none needs a lock.
 */
import { and, asc, eq, inArray, lte, notInArray, sql } from "drizzle-orm"
import { functionEventConfigs, functionEvents, functions } from "../../../../src/db/functions.ts"
import type { Database } from "../../../vm-row.ts"
import { LATEST } from "../../names.ts"
import { DEFAULT_RETRIES, MAX_AGE_MS, type LaneName, type NewEvent, type QueuedEvent, type Treatment } from "./event.ts"

/** One event as it is taken, with what the function's row and configuration say now. */
export interface Taken {
  readonly event: QueuedEvent
  /** `undefined`: the function is gone. */
  readonly treatment: Treatment | undefined
}

export interface LaneSum extends LaneName {
  readonly events: number
  readonly bytes: number
}

const inLane = (hostId: string, { functionId, kind, target }: LaneName) =>
  and(
    eq(functionEvents.hostId, hostId),
    eq(functionEvents.functionId, functionId),
    eq(functionEvents.kind, kind),
    eq(functionEvents.target, target),
  )

const size = sql<string>`coalesce(sum(octet_length(${functionEvents.body})), 0)`

/** Stores events; they are due at once. One statement: all of them or none. */
export const insertEvents = async (
  db: Database,
  hostId: string,
  events: readonly NewEvent[],
  now: Date,
): Promise<void> => {
  if (events.length === 0) return
  await db
    .insert(functionEvents)
    .values(events.map(({ scope, ...event }) => ({ ...event, ...scope, hostId, acceptedAt: now, dueAt: now })))
}

/** Those of a lane that are due and not in flight, the ones due first before the others. */
export const takeEvents = async (
  db: Database,
  hostId: string,
  lane: LaneName,
  now: Date,
  inFlight: readonly number[],
  limit: number,
): Promise<Taken[]> => {
  const rows = await db
    .select({
      event: functionEvents,
      owner: { id: functions.id, loops: functions.recursiveLoop },
      config: functionEventConfigs,
    })
    .from(functionEvents)
    .leftJoin(functions, eq(functions.id, functionEvents.functionId))
    .leftJoin(
      functionEventConfigs,
      and(
        eq(functionEventConfigs.functionId, functionEvents.functionId),
        eq(functionEventConfigs.qualifier, lane.target === "" ? LATEST : lane.target),
      ),
    )
    .where(
      and(
        inLane(hostId, lane),
        lte(functionEvents.dueAt, now),
        inFlight.length === 0 ? undefined : notInArray(functionEvents.position, [...inFlight]),
      ),
    )
    .orderBy(asc(functionEvents.dueAt), asc(functionEvents.position))
    .limit(limit)
  return rows.map(({ event: { account, region, ...event }, owner, config }) => ({
    event: { ...event, scope: { account, region } },
    treatment:
      owner === null
        ? undefined
        : {
            maximumRetries: config?.maximumRetries ?? DEFAULT_RETRIES,
            maximumAgeMs: config?.maximumAgeSeconds == null ? MAX_AGE_MS : config.maximumAgeSeconds * 1000,
            destinations: config?.destinations ?? { onSuccess: null, onFailure: null },
            stopsLoops: owner.loops === "Terminate",
          },
  }))
}

export interface Next {
  readonly dueAt: Date
  readonly isOrphan: boolean
}

/** When the next of a lane is due that is not in flight, and whether its function is gone; `undefined` when there is none. */
export const findNext = async (
  db: Database,
  hostId: string,
  lane: LaneName,
  inFlight: readonly number[],
): Promise<Next | undefined> => {
  const [row] = await db
    .select({ dueAt: functionEvents.dueAt, owner: functions.id })
    .from(functionEvents)
    .leftJoin(functions, eq(functions.id, functionEvents.functionId))
    .where(
      and(inLane(hostId, lane), inFlight.length === 0 ? undefined : notInArray(functionEvents.position, [...inFlight])),
    )
    .orderBy(asc(functionEvents.dueAt))
    .limit(1)
  return row && { dueAt: row.dueAt, isOrphan: row.owner === null }
}

/** Answers which of them were still there. */
export const removeEvents = async (db: Database, positions: readonly number[]): Promise<Set<number>> => {
  if (positions.length === 0) return new Set()
  const gone = await db
    .delete(functionEvents)
    .where(inArray(functionEvents.position, [...positions]))
    .returning({ position: functionEvents.position })
  return new Set(gone.map(({ position }) => position))
}

/** The function has failed with it so often; it is due again then. */
export const postponeEvent = async (db: Database, position: number, attempts: number, dueAt: Date): Promise<void> => {
  await db.update(functionEvents).set({ attempts, dueAt }).where(eq(functionEvents.position, position))
}

/** Everything of a lane but what is in flight; answers how much it was. */
export const dropLane = async (
  db: Database,
  hostId: string,
  lane: LaneName,
  inFlight: readonly number[],
): Promise<{ events: number; bytes: number }> => {
  const gone = await db
    .delete(functionEvents)
    .where(
      and(inLane(hostId, lane), inFlight.length === 0 ? undefined : notInArray(functionEvents.position, [...inFlight])),
    )
    .returning({ bytes: sql<number>`octet_length(${functionEvents.body})` })
  return { events: gone.length, bytes: gone.reduce((sum, { bytes }) => sum + bytes, 0) }
}

/** What is there, by lane. */
export const sumLanes = async (db: Database, hostId: string): Promise<LaneSum[]> => {
  const { functionId, kind, target } = functionEvents
  const rows = await db
    .select({ functionId, kind, target, events: sql<number>`count(*)::int`, bytes: size })
    .from(functionEvents)
    .where(eq(functionEvents.hostId, hostId))
    .groupBy(functionId, kind, target)
  return rows.map((row) => ({ ...row, bytes: Number(row.bytes) }))
}
