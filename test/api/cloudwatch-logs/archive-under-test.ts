/** The real server over a real Postgres, in which the real writer has written. */
import { randomUUID } from "node:crypto"
import { CloudWatchLogs, type CloudWatchLogsClientConfig } from "@aws-sdk/client-cloudwatch-logs"
import { sql } from "drizzle-orm"
import { pino } from "pino"
import { registerHost } from "../../../src/db/identity.ts"
import { logChunks } from "../../../src/db/logs.ts"
import { createLogs, type LogLimits } from "../../../src/logs/logs.ts"
import { openTestDatabase } from "../../db/database.ts"
import { account, credentials, region, startApi } from "../api-under-test.ts"

const limits: LogLimits = { bytesPerLog: 2 ** 30, bytesPerGroup: 2 ** 30, bytesPerHost: 2 ** 30, days: 7 }

/** Serves logs with the API; the caller disposes it. */
export const startArchive = async () => {
  await using opened = new AsyncDisposableStack()
  const { db, hostId } = opened.use(await openTestDatabase())
  await registerHost(db, hostId, "test")
  const logs = opened.use(createLogs({ db, hostId, limits, log: pino({ level: "silent" }) }))
  const api = opened.use(await startApi({ archive: logs.archive }))
  const clients = opened.use(new DisposableStack())
  const held = opened.move()
  return {
    api,
    logs,
    client: (config: CloudWatchLogsClientConfig = {}) => {
      const client = new CloudWatchLogs({ endpoint: api.url, region, credentials, maxAttempts: 1, ...config })
      clients.defer(() => client.destroy())
      return client
    },
    /** Begins a log at a place of the account's; resolves with its id. */
    async begin(group: string, stream: string, scope: { account?: string; region?: string } = {}) {
      const id = randomUUID()
      await logs.create(db, id, { account, region, ...scope, group, stream })
      return id
    },
    /** Says so many lines in a log. */
    async say(id: string, ...lines: string[]) {
      const writer = logs.writer(id)
      for (const line of lines) writer.add("stdout", `${line}\n`)
      await writer.close()
    },
    /** Makes it as if everything had been said so much later. */
    async shift(id: string, ms: number) {
      const by = sql`make_interval(secs => ${ms / 1000})`
      const rows = await db
        .select()
        .from(logChunks)
        .where(sql`log_id = ${id}`)
      for (const { firstLine, entries } of rows) {
        const moved = entries.replaceAll(
          /"at":"([^"]+)"/g,
          (_, at: string) => `"at":"${new Date(Date.parse(at) + ms).toISOString()}"`,
        )
        await db.execute(
          sql`update log_chunks set entries = ${moved}, at = at + ${by}, last_at = last_at + ${by} where log_id = ${id} and first_line = ${firstLine}`,
        )
      }
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}

export type ArchiveUnderTest = Awaited<ReturnType<typeof startArchive>>
