/** Which version an event is for. */
import { and, eq, sql } from "drizzle-orm"
import { functionAliases, functions, functionVersions } from "../../../src/db/functions.ts"
import type { Scope } from "../../resources.ts"
import type { Database } from "../../vm-row.ts"
import type { Definition } from "../definition.ts"
import { LATEST, parseVersion, type FunctionReference } from "../names.ts"
import { functionNotFound } from "../rows.ts"
import type { DefinitionCache } from "./definition-cache.ts"
import { notInvocable } from "./refusals.ts"

export interface Resolved {
  readonly definition: Definition
  /** The function's share of the account's concurrency, `null` when it has none of its own. */
  readonly reserved: number | null
}

/**
 * The version that a reference means. Asked with one query each time: what has been changed, by whichever daemon, is so for the next
 * event; what the version runs is kept for as long as its row's revision is the same. `random`, from 0 to 1, chooses between an alias's
 * two versions. Throws AWS's 404, and 409 when it cannot be invoked.
 */
export const resolve = async (
  db: Database,
  definitions: DefinitionCache,
  target: FunctionReference,
  scope: Scope,
  random: number,
): Promise<Resolved> => {
  const qualifier = target.qualifier ?? LATEST
  // AWS names what would have run.
  const absent = () => functionNotFound(scope, { name: target.name, qualifier })
  const [found] = await db
    .select({
      reserved: functions.reservedConcurrency,
      versionId: functionVersions.id,
      revisionId: functionVersions.revisionId,
      state: functionVersions.state,
    })
    .from(functions)
    .leftJoin(functionAliases, and(eq(functionAliases.functionId, functions.id), eq(functionAliases.name, qualifier)))
    .innerJoin(
      functionVersions,
      and(
        eq(functionVersions.functionId, functions.id),
        eq(
          functionVersions.number,
          sql`coalesce(${parseVersion(qualifier) ?? null}::int, case when ${random}::float8 < ${functionAliases.otherWeight} then ${functionAliases.otherNumber} else ${functionAliases.number} end)`,
        ),
      ),
    )
    .where(
      and(eq(functions.account, scope.account), eq(functions.region, scope.region), eq(functions.name, target.name)),
    )
  if (found === undefined) throw absent()
  if (found.state !== "Active") throw notInvocable(found.state)
  const definition = await definitions.of(found.versionId, found.revisionId)
  if (definition === undefined) throw absent()
  return { definition, reserved: found.reserved }
}
