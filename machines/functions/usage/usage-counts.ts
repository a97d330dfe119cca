/** What versions of functions are used for, counted in memory and written in batches. */
import { lt, sql } from "drizzle-orm"
import { functionUsage } from "../../../src/db/functions.ts"
import type { Log } from "../../../src/log.ts"
import type { Database } from "../../vm-row.ts"

export interface Use {
  readonly invocations?: number
  readonly errors?: number
  readonly throttles?: number
  readonly durationMs?: number
  /** Memory times billed duration, in GB of 1024³ bytes. */
  readonly gbSeconds?: number
}

export interface UsageCounts extends AsyncDisposable {
  /** Counts; `version` as callers name it. */
  add(functionId: string, version: string, use: Use): void
  /** Resolves when all that was counted before is written. */
  flush(): Promise<void>
}

export interface UsageOptions {
  readonly db: Database
  readonly days: number
  readonly log: Log
  /** How long counts are held in memory; a daemon that is killed loses them. An event writes nothing else, and isn't to wait for this. */
  readonly intervalMs?: number
}

type Row = typeof functionUsage.$inferInsert

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
/** So many versions are written at once, and no more are held. */
const MAX_ROWS = 1000

/** Counts from now on. Disposing writes what is held; what is counted after it is lost, as its database may be closed. */
export const openUsageCounts = ({ db, days, log, intervalMs = 1000 }: UsageOptions): UsageCounts => {
  let counted = new Map<string, Row>()
  let writing = Promise.resolve()
  let timer: NodeJS.Timeout | undefined
  let trimmedAt = 0
  let isClosed = false

  const sum = (column: keyof typeof columns) =>
    sql`${functionUsage[column]} + excluded.${sql.identifier(columns[column])}`

  const write = async (rows: Row[]) => {
    if (rows.length > 0)
      await db
        .insert(functionUsage)
        .values(rows)
        .onConflictDoUpdate({
          target: [functionUsage.functionId, functionUsage.version, functionUsage.hour],
          set: {
            invocations: sum("invocations"),
            errors: sum("errors"),
            throttles: sum("throttles"),
            durationMs: sum("durationMs"),
            gbSeconds: sum("gbSeconds"),
          },
        })
    if (Date.now() - trimmedAt < HOUR_MS) return
    trimmedAt = Date.now()
    await db.delete(functionUsage).where(lt(functionUsage.hour, new Date(trimmedAt - days * DAY_MS)))
  }

  const flush = (): Promise<void> => {
    clearTimeout(timer)
    timer = undefined
    const rows = [...counted.values()]
    counted = new Map()
    writing = writing
      .then(() => write(rows))
      .catch((error: unknown) => log.error({ err: error, versions: rows.length }, "Usage could not be written"))
    return writing
  }

  return {
    add(functionId, version, use) {
      if (isClosed) return
      const hour = new Date(Math.floor(Date.now() / HOUR_MS) * HOUR_MS)
      const key = `${functionId} ${version} ${hour.getTime()}`
      const row = counted.get(key) ?? { ...none, functionId, version, hour }
      row.invocations += use.invocations ?? 0
      row.errors += use.errors ?? 0
      row.throttles += use.throttles ?? 0
      row.durationMs += use.durationMs ?? 0
      row.gbSeconds += use.gbSeconds ?? 0
      counted.set(key, row)
      if (counted.size >= MAX_ROWS) void flush()
      else timer ??= setTimeout(() => void flush(), intervalMs).unref()
    },
    flush,
    [Symbol.asyncDispose]() {
      isClosed = true
      return flush()
    },
  }
}

const none = { invocations: 0, errors: 0, throttles: 0, durationMs: 0, gbSeconds: 0 }

const columns = {
  invocations: "invocations",
  errors: "errors",
  throttles: "throttles",
  durationMs: "duration_ms",
  gbSeconds: "gb_seconds",
} as const
