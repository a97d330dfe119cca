import { and, eq, lt, sql } from "drizzle-orm"
import { logChunks, logs } from "../db/schema.ts"
import type { LogsOptions } from "./logs.ts"

const EVERY_MS = 3600 * 1000
/** Looked at again after so much of the host's limit was written. */
const SHARE_BETWEEN = 16

/** Removes what is too old, and the oldest of what is too much; `note` counts what is written. */
export const createRetention = (options: LogsOptions) => {
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
      if (written > options.limits.bytesPerHost / SHARE_BETWEEN) sweep()
    },
    async stop() {
      clearInterval(timer)
      await sweeping
    },
  }
}

/** The last chunk of a log that goes on says where: it stays. */
const isOver = sql`(logs.ended_at is not null or log_chunks.first_line < (select max(first_line) from log_chunks as others where others.log_id = logs.id))`

/** Once over this host's logs. */
const sweepLogs = async ({ db, hostId, limits }: LogsOptions): Promise<void> => {
  const oldest = sql`now() - make_interval(days => ${limits.days})`
  await db.delete(logs).where(and(eq(logs.hostId, hostId), lt(logs.endedAt, oldest)))
  await db.execute(sql`
    delete from log_chunks using logs
    where logs.id = log_chunks.log_id and logs.host_id = ${hostId} and log_chunks.at < ${oldest} and ${isOver}`)
  const [row] = await db
    .select({ bytes: sql<number>`coalesce(sum(${logChunks.bytes}), 0)::float8` })
    .from(logChunks)
    .innerJoin(logs, eq(logs.id, logChunks.logId))
    .where(eq(logs.hostId, hostId))
  if ((row?.bytes ?? 0) <= limits.bytesPerHost) return
  const kept = Math.floor((limits.bytesPerHost * (SHARE_BETWEEN - 1)) / SHARE_BETWEEN)
  await db.execute(sql`
    delete from log_chunks using logs, (
      select log_id, first_line, sum(bytes) over (order by log_chunks.at desc, log_id, first_line desc) as onward
      from log_chunks join logs on logs.id = log_id where host_id = ${hostId}
    ) as counted
    where log_chunks.log_id = counted.log_id and log_chunks.first_line = counted.first_line and onward > ${kept}
      and logs.id = log_chunks.log_id and ${isOver}`)
}
