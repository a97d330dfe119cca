import { and, asc, eq, gte } from "drizzle-orm"
import { functionUsage } from "../../../src/db/functions.ts"
import type { Scope } from "../../resources.ts"
import type { Database } from "../../vm-row.ts"
import { findFunction } from "../rows.ts"
import type { UsageCounts } from "./usage-counts.ts"

/** What a version was used for in the hour that began then. */
export interface HourlyUsage {
  readonly version: string
  readonly hour: Date
  readonly invocations: number
  readonly errors: number
  readonly throttles: number
  readonly durationMs: number
  readonly gbSeconds: number
}

export interface UsageReader {
  /** Of a function's versions since the hour of `since`, the oldest first. Throws AWS's 404. */
  read(name: string, since: Date, scope: Scope): Promise<HourlyUsage[]>
}

const HOUR_MS = 3_600_000
/** What is beyond it is older than anybody asks for at once. */
const MAX_ROWS = 10_000

/** Reads what is counted, up to this moment. */
export const createUsageReader = (db: Database, counts: Pick<UsageCounts, "flush">): UsageReader => ({
  async read(name, since, scope) {
    const { id } = await findFunction(db, { name, qualifier: undefined }, scope)
    await counts.flush()
    const first = new Date(Math.floor(since.getTime() / HOUR_MS) * HOUR_MS)
    return db
      .select({
        version: functionUsage.version,
        hour: functionUsage.hour,
        invocations: functionUsage.invocations,
        errors: functionUsage.errors,
        throttles: functionUsage.throttles,
        durationMs: functionUsage.durationMs,
        gbSeconds: functionUsage.gbSeconds,
      })
      .from(functionUsage)
      .where(and(eq(functionUsage.functionId, id), gte(functionUsage.hour, first)))
      .orderBy(asc(functionUsage.hour), asc(functionUsage.version))
      .limit(MAX_ROWS)
  },
})
