/** Ending environments of what a function was: an older $LATEST, a version that is removed, a function that is. */
import { eq } from "drizzle-orm"
import { functionVersions } from "../../../src/db/functions.ts"
import type { Database } from "../../vm-row.ts"
import type { DefinitionCache } from "./definition-cache.ts"
import type { Pool } from "./pool/pool.ts"

/** Ends those that nothing serves with any more, busy ones when their event is over. */
export const retire = async (
  db: Database,
  definitions: DefinitionCache,
  pool: Pick<Pool, "definitionsOf" | "retire">,
  functionId: string,
): Promise<void> => {
  const there = pool.definitionsOf(functionId)
  if (there.size === 0) return
  const rows = await db
    .select({ id: functionVersions.id, revisionId: functionVersions.revisionId })
    .from(functionVersions)
    .where(eq(functionVersions.functionId, functionId))
  const versions = new Set([...there].map((id) => definitions.versionOf(id)))
  // Of one that an earlier daemon has left nobody knows which version it is of.
  const asked = versions.has(undefined) ? rows : rows.filter(({ id }) => versions.has(id))
  for (const { id, revisionId } of asked) there.delete((await definitions.of(id, revisionId))?.id ?? "")
  const reason = rows.length === 0 ? "Its function was deleted" : "Its function has changed"
  for (const definitionId of there) pool.retire(definitionId, "api", reason)
}
