import { and, eq, lt, sql, type SQL } from "drizzle-orm"
import { logChunks, logs } from "../db/logs.ts"
import type { LogDatabase, LogsOptions } from "./logs.ts"

const EVERY_MS = 3600 * 1000
/** Looked at again after so much of the smallest limit was written. */
const SHARE_BETWEEN = 16

/** Removes what is too old, and the oldest of what is too much, in a group or together; `note` counts what is written. */
export const createRetention = (options: LogsOptions) => {
  const { bytesPerGroup, bytesPerHost } = options.limits
  let written = 0
  let sweeping = Promise.resolve()
  const sweep = () => {
    written = 0
    sweeping = sweeping
      .then(() => sweepLogs(options))
      .catch((error: unknown) => options.log.warn({ err: error }, "Logs could not be swept"))
  }
  const timer = setInterval(sweep, EVERY_MS).unref()
  sweep()
  return {
    note(bytes: number) {
      written += bytes
      if (written > Math.min(bytesPerGroup, bytesPerHost) / SHARE_BETWEEN) sweep()
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

/** Once over this host's logs, and what they share groups with. */
const sweepLogs = async ({ db, hostId, limits }: LogsOptions): Promise<void> => {
  const oldest = sql`now() - make_interval(days => ${limits.days})`
  await db.delete(logs).where(and(eq(logs.hostId, hostId), lt(logs.endedAt, oldest)))
  await db.execute(sql`
    delete from log_chunks using logs
    where logs.id = log_chunks.log_id and logs.host_id = ${hostId} and log_chunks.at < ${oldest} and ${isOver}`)
  const full = await db
    .select({ id: logChunks.groupId })
    .from(logChunks)
    .groupBy(logChunks.groupId)
    .having(sql`sum(${logChunks.bytes}) > ${limits.bytesPerGroup}`)
  for (const { id } of full) await removeOldest(db, sql`log_chunks.group_id = ${id}`, keptOf(limits.bytesPerGroup))
  const [row] = await db
    .select({ bytes: sql<number>`coalesce(sum(${logChunks.bytes}), 0)::float8` })
    .from(logChunks)
    .innerJoin(logs, eq(logs.id, logChunks.logId))
    .where(eq(logs.hostId, hostId))
  if ((row?.bytes ?? 0) > limits.bytesPerHost)
    await removeOldest(db, sql`logs.host_id = ${hostId}`, keptOf(limits.bytesPerHost))
  // Last: one that gets a log at this very moment is held by it, and refuses.
  await db.execute(sql`
    delete from log_groups
    where created_at < ${oldest} and not exists (select from logs where group_id = log_groups.id)`)
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
