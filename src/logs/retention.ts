import { and, eq, inArray, lt, sql, type SQL } from "drizzle-orm"
import { logChunks, logs } from "../db/logs.ts"
import type { LogDatabase, LogsOptions } from "./logs.ts"

const EVERY_MS = 3600 * 1000
/** Looked at again after so much of the smallest limit was written. */
const SHARE_BETWEEN = 16
/** Groups that are named in one query; of more all are counted. */
const MAX_NAMED = 1000

/**
 * Removes what is too old, and the oldest of what is too much, in a group or together. `note` says what is written: between two looks at
 * everything, the first of which `begin` takes, only groups that were written to are counted, and the host's logs only when they may be too much.
 */
export const createRetention = (options: LogsOptions) => {
  const { bytesPerGroup, bytesPerHost } = options.limits
  let written = 0
  let groups = new Set<string>()
  /** This host's logs are no more than that. */
  let most = Infinity
  let sweeping = Promise.resolve()
  const sweep = (isWhole: boolean) => {
    const among = isWhole || groups.size > MAX_NAMED ? undefined : [...groups]
    written = 0
    groups = new Set()
    sweeping = sweeping
      .then(async () => {
        if (isWhole) await removeOld(options)
        await trimGroups(options, among)
        if (!isWhole && most <= bytesPerHost) return
        // What is written meanwhile is counted beside.
        most = 0
        most += await trimHost(options)
      })
      .catch((error: unknown) => {
        most = Infinity
        options.log.warn({ err: error }, "Logs could not be swept")
      })
  }
  let timer: NodeJS.Timeout | undefined
  return {
    begin() {
      timer ??= setInterval(sweep, EVERY_MS, true).unref()
      sweep(true)
    },
    note(groupId: string, bytes: number) {
      groups.add(groupId)
      written += bytes
      most += bytes
      if (written > Math.min(bytesPerGroup, bytesPerHost) / SHARE_BETWEEN) sweep(false)
    },
    async stop() {
      clearInterval(timer)
      await sweeping
    },
  }
}

/** The last chunk of a log that goes on says where: it stays. */
const isOver = sql`(logs.ended_at is not null or log_chunks.first_line < (select max(first_line) from log_chunks as others where others.log_id = logs.id))`

/** What is left of so much when it was too much: not every line behind a limit is worth a look at all of them. */
const keptOf = (bytes: number) => Math.floor((bytes * (SHARE_BETWEEN - 1)) / SHARE_BETWEEN)

/** What is older than its time, of this host's logs, and groups that nothing is in any more. */
const removeOld = async ({ db, hostId, limits }: LogsOptions): Promise<void> => {
  const oldest = sql`now() - make_interval(days => ${limits.days})`
  await db.delete(logs).where(and(eq(logs.hostId, hostId), lt(logs.endedAt, oldest)))
  await db.execute(sql`
    delete from log_chunks using logs
    where logs.id = log_chunks.log_id and logs.host_id = ${hostId} and log_chunks.at < ${oldest} and ${isOver}`)
  // One that gets a log at this very moment is held by it, and refuses.
  await db.execute(sql`
    delete from log_groups
    where created_at < ${oldest} and not exists (select from logs where group_id = log_groups.id)`)
}

/** The oldest of those that are too large, whichever host's. */
const trimGroups = async ({ db, limits }: LogsOptions, among: readonly string[] | undefined): Promise<void> => {
  const full = await db
    .select({ id: logChunks.groupId })
    .from(logChunks)
    .where(among === undefined ? undefined : inArray(logChunks.groupId, [...among]))
    .groupBy(logChunks.groupId)
    .having(sql`sum(${logChunks.bytes}) > ${limits.bytesPerGroup}`)
  for (const { id } of full) await removeOldest(db, sql`log_chunks.group_id = ${id}`, keptOf(limits.bytesPerGroup))
}

/** The oldest of this host's logs, when they are too much; resolves with what they were before, in bytes. */
const trimHost = async ({ db, hostId, limits }: LogsOptions): Promise<number> => {
  const [row] = await db
    .select({ bytes: sql<number>`coalesce(sum(${logChunks.bytes}), 0)::float8` })
    .from(logChunks)
    .innerJoin(logs, eq(logs.id, logChunks.logId))
    .where(eq(logs.hostId, hostId))
  const bytes = row?.bytes ?? 0
  if (bytes > limits.bytesPerHost) await removeOldest(db, sql`logs.host_id = ${hostId}`, keptOf(limits.bytesPerHost))
  return bytes
}

/** Removes the oldest chunks of some, so that at most `kept` bytes of them stay. */
const removeOldest = async (db: LogDatabase, which: SQL, kept: number): Promise<void> => {
  await db.execute(sql`
    delete from log_chunks using logs, (
      select log_id, first_line, sum(bytes) over (order by log_chunks.at desc, log_id, first_line desc) as onward
      from log_chunks join logs on logs.id = log_id where ${which}
    ) as counted
    where log_chunks.log_id = counted.log_id and log_chunks.first_line = counted.first_line and onward > ${kept}
      and logs.id = log_chunks.log_id and ${isOver}`)
}
