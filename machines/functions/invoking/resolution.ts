/** Which version an event is for. */
import { and, eq, sql } from "drizzle-orm"
import { functionAliases, functions, functionVersions } from "../../../src/db/functions.ts"
import type { Scope } from "../../resources.ts"
import type { Database } from "../../vm-row.ts"
import type { Definition } from "../definition.ts"
import { LATEST, parseVersion, type FunctionReference } from "../names.ts"
import { functionNotFound } from "../rows.ts"
import type { DefinitionCache } from "./definition-cache.ts"
import { notInvocable, snapshotNotReady } from "./refusals.ts"

export interface Resolved {
  readonly definition: Definition
  /** The function's share of the account's concurrency, `null` when it has none of its own. */
  readonly reserved: number | null
  readonly stopsLoops: boolean
}

/** The query, its text made once: it is asked for each event. */
const prepare = (db: Database) => {
  const [qualifier, version] = [sql.placeholder("qualifier"), sql.placeholder("version")]
  const chosen = sql`case when ${sql.placeholder("random")}::float8 < ${functionAliases.otherWeight} then ${functionAliases.otherNumber} else ${functionAliases.number} end`
  return db
    .select({
      reserved: functions.reservedConcurrency,
      loops: functions.recursiveLoop,
      versionId: functionVersions.id,
      revisionId: functionVersions.revisionId,
      state: functionVersions.state,
      hasSnapshot: sql<boolean>`${functionVersions.number} > 0 and ${functionVersions.settings} @> '{"snapStart": true}'`,
    })
    .from(functions)
    .leftJoin(functionAliases, and(eq(functionAliases.functionId, functions.id), eq(functionAliases.name, qualifier)))
    .innerJoin(
      functionVersions,
      and(
        eq(functionVersions.functionId, functions.id),
        eq(functionVersions.number, sql`coalesce(${version}::int, ${chosen})`),
      ),
    )
    .where(
      and(
        eq(functions.account, sql.placeholder("account")),
        eq(functions.region, sql.placeholder("region")),
        eq(functions.name, sql.placeholder("name")),
      ),
    )
    .prepare("function_resolution")
}

/**
 * Finds the version that a reference means. Asked with one query each time: what has been changed, by whichever daemon, is so for the
 * next event; what the version runs is kept for as long as its row's revision is the same. `random`, from 0 to 1, chooses between an
 * alias's two versions. Throws AWS's 404, and 409 when it cannot be invoked.
 */
export const createResolution = (db: Database, definitions: DefinitionCache) => {
  const query = prepare(db)
  return async ({ name, qualifier = LATEST }: FunctionReference, scope: Scope, random: number): Promise<Resolved> => {
    const { account, region } = scope
    // AWS names what would have run.
    const absent = () => functionNotFound(scope, { name, qualifier })
    const version = parseVersion(qualifier) ?? null
    const [found] = await query.execute({ account, region, name, qualifier, version, random })
    if (found === undefined) throw absent()
    if (found.state === "Pending" && found.hasSnapshot) throw snapshotNotReady()
    if (found.state !== "Active") throw notInvocable(found.state)
    const definition = await definitions.of(found.versionId, found.revisionId)
    if (definition === undefined) throw absent()
    return { definition, reserved: found.reserved, stopsLoops: found.loops === "Terminate" }
  }
}
