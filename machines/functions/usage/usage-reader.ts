import { and, asc, eq, gte, sql } from "drizzle-orm"
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
  /** Of a function's versions since the hour of `since`, the oldest first, behind the one that a page ended with. Throws AWS's 404. */
  read(
    name: string,
    from: { readonly since: Date; readonly after: Pick<HourlyUsage, "hour" | "version"> | undefined },
    scope: Scope,
  ): Promise<{ readonly items: HourlyUsage[]; readonly isWhole: boolean }>
}

const HOUR_MS = 3_600_000
/** Of one page. */
const MAX_ROWS = 10_000

/** Reads what is counted, up to this moment. */
export const createUsageReader = (db: Database, counts: Pick<UsageCounts, "flush">): UsageReader => ({
  async read(name, { since, after }, scope) {
    const { id } = await findFunction(db, { name, qualifier: undefined }, scope)
    await counts.flush()
    const first = new Date(Math.floor(since.getTime() / HOUR_MS) * HOUR_MS)
    const rows = await db
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
      .where(
        and(
          eq(functionUsage.functionId, id),
          gte(functionUsage.hour, first),
          after &&
            sql`(${functionUsage.hour}, ${functionUsage.version}) > (${after.hour.toISOString()}::timestamptz, ${after.version})`,
        ),
      )
      .orderBy(asc(functionUsage.hour), asc(functionUsage.version))
      .limit(MAX_ROWS + 1)
    return { items: rows.slice(0, MAX_ROWS), isWhole: rows.length <= MAX_ROWS }
  },
})
