/** What groups and streams there are, for who looks for something to read. Names are in the order of their bytes, whatever the database's locale. */
import { and, asc, desc, eq, gt, inArray, sql, type SQL } from "drizzle-orm"
import { logChunks, logGroups, logs } from "../db/logs.ts"
import { chosen, type StreamChoice } from "./events.ts"
import type { LogDatabase } from "./logs.ts"

/** Whose groups: everything is looked up inside one. */
export interface LogScope {
  readonly account: string
  readonly region: string
}

export interface LogGroup {
  readonly id: string
  readonly name: string
  readonly createdAt: Date
  readonly storedBytes: number
}

export interface GroupChoice {
  readonly prefix?: string | undefined
  /** A part of the name, in letters of either case. */
  readonly part?: string | undefined
  readonly names?: readonly string[] | undefined
}

/** All logs of a group that have a name in common. */
export interface StreamSummary {
  readonly name: string
  readonly createdAt: Date
  /** Of what is kept; `null` when nothing is. */
  readonly firstAt: Date | null
  readonly lastAt: Date | null
  readonly storedAt: Date | null
}

export type StreamOrder = "name" | "last event"

/** The next so many behind the one that a page ended with. */
interface PageWanted<Key> {
  readonly after: Key | undefined
  readonly limit: number
}

export interface LogCatalogue {
  groups(scope: LogScope, choice: GroupChoice, page: PageWanted<string>): Promise<LogGroup[]>
  streams(
    groupId: string,
    choice: StreamChoice,
    order: { by: StreamOrder; descending: boolean },
    page: PageWanted<Pick<StreamSummary, "name" | "lastAt">>,
  ): Promise<StreamSummary[]>
}

const byBytes = (name: SQL | typeof logGroups.name | typeof logs.stream) => sql`${name} collate "C"`

/** Looks into the store of all logs. */
export const createLogCatalogue = (db: LogDatabase): LogCatalogue => ({
  groups: (scope, { prefix, part, names }, { after, limit }) =>
    db
      .select({
        id: logGroups.id,
        name: logGroups.name,
        createdAt: logGroups.createdAt,
        storedBytes: sql<number>`(select coalesce(sum(bytes), 0)::float8 from log_chunks where group_id = ${logGroups.id})`,
      })
      .from(logGroups)
      .where(
        and(
          eq(logGroups.account, scope.account),
          eq(logGroups.region, scope.region),
          prefix === undefined ? undefined : sql`starts_with(${logGroups.name}, ${prefix})`,
          part === undefined ? undefined : sql`position(lower(${part}) in lower(${logGroups.name})) > 0`,
          names === undefined ? undefined : inArray(logGroups.name, [...names]),
          after === undefined ? undefined : gt(byBytes(logGroups.name), after),
        ),
      )
      .orderBy(byBytes(logGroups.name))
      .limit(limit),
  streams(groupId, choice, { by, descending }, { after, limit }) {
    const direction = descending ? desc : asc
    const said = db
      .select({
        logId: logChunks.logId,
        firstAt: sql`min(${logChunks.at})`.as("first_at"),
        lastAt: sql`max(${logChunks.lastAt})`.as("said_last_at"),
        storedAt: sql`max(${logChunks.storedAt})`.as("said_stored_at"),
      })
      .from(logChunks)
      .where(eq(logChunks.groupId, groupId))
      .groupBy(logChunks.logId)
      .as("said")
    // One that nothing is kept of is older than all others.
    const lastMs = sql<number>`coalesce(floor(extract(epoch from max(${said.lastAt})) * 1000), 0)::float8`
    const compared = sql.raw(descending ? "<" : ">")
    const [name, afterMs] = [byBytes(logs.stream), after?.lastAt?.getTime() ?? 0]
    return db
      .select({
        name: logs.stream,
        createdAt: sql<Date>`min(${logs.createdAt})`.mapWith(logs.createdAt),
        firstAt: sql<Date | null>`min(${said.firstAt})`.mapWith(logChunks.at),
        lastAt: sql<Date | null>`max(${said.lastAt})`.mapWith(logChunks.lastAt),
        storedAt: sql<Date | null>`max(${said.storedAt})`.mapWith(logChunks.storedAt),
      })
      .from(logs)
      .leftJoin(said, eq(said.logId, logs.id))
      .where(
        and(
          eq(logs.groupId, groupId),
          chosen(choice),
          after === undefined || by !== "name" ? undefined : sql`${name} ${compared} ${after.name}`,
        ),
      )
      .groupBy(logs.stream)
      .having(
        after === undefined || by === "name"
          ? undefined
          : sql`(${lastMs}, ${name}) ${compared} (${afterMs}::float8, ${after.name})`,
      )
      .orderBy(...(by === "name" ? [] : [direction(lastMs)]), direction(name))
      .limit(limit)
  },
})
