import { and, desc, eq, gte, isNotNull, max, or, sql, sum } from "drizzle-orm"
import { functionCodes, functionUsage, functionVersions } from "../../../src/db/functions.ts"
import type { Database } from "../../vm-row.ts"
import { LATEST } from "../names.ts"

/** The ids of this host's active versions that were used or changed since then, at most so many: the last first, and of those used in one hour the most used. */
export const recentlyUsed = async (db: Database, hostId: string, since: Date, most: number): Promise<string[]> => {
  const used = db
    .select({
      functionId: functionUsage.functionId,
      version: functionUsage.version,
      // What was used is before what was changed in that hour.
      until: sql<string | null>`${max(functionUsage.hour)} + interval '1 hour'`.as("until"),
      invocations: sum(functionUsage.invocations).as("invocations"),
    })
    .from(functionUsage)
    .where(gte(functionUsage.hour, since))
    .groupBy(functionUsage.functionId, functionUsage.version)
    .as("used")
  const version = sql`case ${functionVersions.number} when 0 then ${LATEST} else ${functionVersions.number}::text end`
  const rows = await db
    .select({ id: functionVersions.id })
    .from(functionVersions)
    .innerJoin(functionCodes, eq(functionCodes.id, functionVersions.codeId))
    .leftJoin(used, and(eq(used.functionId, functionVersions.functionId), eq(used.version, version)))
    .where(
      and(
        eq(functionCodes.hostId, hostId),
        eq(functionVersions.state, "Active"),
        or(isNotNull(used.until), gte(functionVersions.modifiedAt, since)),
      ),
    )
    .orderBy(
      desc(sql`greatest(${used.until}, ${functionVersions.modifiedAt})`),
      desc(sql`coalesce(${used.invocations}, 0)`),
    )
    .limit(most)
  return rows.map(({ id }) => id)
}
