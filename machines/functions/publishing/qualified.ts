/** What belongs to one version or alias of a function, and goes with it. */
import { and, eq } from "drizzle-orm"
import {
  functionEventConfigs,
  functionPolicies,
  functionProvisions,
  functionRuntimeConfigs,
  functionUrls,
} from "../../../src/db/functions.ts"
import type { Database } from "../../vm-row.ts"

const tables = [functionPolicies, functionEventConfigs, functionRuntimeConfigs, functionProvisions, functionUrls]

/** Removes all that a version or an alias had of its own. */
export const removeQualified = async (tx: Database, functionId: string, qualifier: string): Promise<void> => {
  for (const table of tables)
    await tx.delete(table).where(and(eq(table.functionId, functionId), eq(table.qualifier, qualifier)))
}
