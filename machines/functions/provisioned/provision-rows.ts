/** What is to be kept initialised of a function, as its rows say. */
import { and, asc, eq, inArray } from "drizzle-orm"
import { functionAliases, functionProvisions, functionVersions } from "../../../src/db/functions.ts"
import type { Database } from "../../vm-row.ts"
import { parseVersion } from "../names.ts"
import { conflict, invalid } from "../refusals.ts"

export type ProvisionRow = typeof functionProvisions.$inferSelect

/** So many of one version, for one qualifier. */
export interface Share {
  readonly qualifier: string
  readonly versionId: string
  readonly revisionId: string
  readonly count: number
}

/** A qualifier's row, if it has one. */
export const findProvision = async (
  db: Database,
  functionId: string,
  qualifier: string,
): Promise<ProvisionRow | undefined> => {
  const [row] = await db
    .select()
    .from(functionProvisions)
    .where(and(eq(functionProvisions.functionId, functionId), eq(functionProvisions.qualifier, qualifier)))
  return row
}

/**
 * Throws where an alias that has some would lead to a version by number that cannot have any more: the unpublished one, or one that has
 * some of its own, of which it would be said twice how many there are.
 */
export const checkProvisionedAlias = async (
  db: Database,
  functionId: string,
  numbers: readonly (number | null | undefined)[],
): Promise<void> => {
  for (const number of numbers) {
    if (number === 0) throw unpublished()
    if (number !== undefined && number !== null && (await findProvision(db, functionId, String(number))))
      throw conflict("Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version")
  }
}

export const unpublished = () =>
  invalid("Provisioned Concurrency Configs cannot be applied to unpublished function versions.")

/** Of every version that its qualifiers lead to: an alias with two versions has as many of each as its weights say. */
export const sharesOf = async (db: Database, functionId: string): Promise<Share[]> => {
  const rows = await db
    .select({
      qualifier: functionProvisions.qualifier,
      requested: functionProvisions.requested,
      alias: functionAliases,
    })
    .from(functionProvisions)
    .leftJoin(
      functionAliases,
      and(
        eq(functionAliases.functionId, functionProvisions.functionId),
        eq(functionAliases.name, functionProvisions.qualifier),
      ),
    )
    .where(eq(functionProvisions.functionId, functionId))
    .orderBy(asc(functionProvisions.qualifier))
  const counted = rows.flatMap(({ qualifier, requested, alias }) => {
    if (alias === null) return [{ qualifier, number: parseVersion(qualifier) ?? 0, count: requested }]
    const others = alias.otherNumber === null ? 0 : Math.round(requested * (alias.otherWeight ?? 0))
    return [
      { qualifier, number: alias.number, count: requested - others },
      { qualifier, number: alias.otherNumber ?? 0, count: others },
    ]
  })
  const wanted = counted.filter(({ number, count }) => number > 0 && count > 0)
  if (wanted.length === 0) return []
  const numbers = [...new Set(wanted.map(({ number }) => number))]
  const versions = await db
    .select({ id: functionVersions.id, number: functionVersions.number, revisionId: functionVersions.revisionId })
    .from(functionVersions)
    .where(
      and(
        eq(functionVersions.functionId, functionId),
        inArray(functionVersions.number, numbers),
        eq(functionVersions.state, "Active"),
      ),
    )
  return wanted.flatMap(({ qualifier, number, count }) =>
    versions
      .filter((version) => version.number === number)
      .map(({ id, revisionId }) => ({ qualifier, versionId: id, revisionId, count })),
  )
}
