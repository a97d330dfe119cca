/** Which functions events are for. */
import { and, inArray } from "drizzle-orm"
import { functionAliases, functions, functionVersions } from "../../../src/db/functions.ts"
import type { Scope } from "../../resources.ts"
import type { Database } from "../../vm-row.ts"
import { LATEST, parseVersion, type FunctionReference } from "../names.ts"

export interface Addressed {
  readonly scope: Scope
  readonly target: FunctionReference
}

const distinct = <Value>(values: readonly Value[]) => [...new Set(values)]
const nameOf = ({ account, region }: Scope, name: string) => `${account} ${region} ${name}`

/** The qualifiers other than `$LATEST` that functions have, of those that are asked for, each behind its function's id. */
const findQualifiers = async (db: Database, ids: readonly string[], asked: readonly string[]): Promise<Set<string>> => {
  const numbers = asked.map(parseVersion).filter((number) => number !== undefined)
  const versions =
    numbers.length === 0
      ? []
      : await db
          .select({ id: functionVersions.functionId, number: functionVersions.number })
          .from(functionVersions)
          .where(and(inArray(functionVersions.functionId, [...ids]), inArray(functionVersions.number, numbers)))
  const names = asked.filter((qualifier) => parseVersion(qualifier) === undefined)
  const aliases =
    names.length === 0
      ? []
      : await db
          .select({ id: functionAliases.functionId, name: functionAliases.name })
          .from(functionAliases)
          .where(and(inArray(functionAliases.functionId, [...ids]), inArray(functionAliases.name, names)))
  return new Set([
    ...versions.map(({ id, number }) => `${id} ${number}`),
    ...aliases.map(({ id, name }) => `${id} ${name}`),
  ])
}

/** The id of each one's function, in their order; `undefined` when there is no such function, version or alias. As few queries for many as for one. */
export const findTargets = async (
  db: Database,
  asked: readonly Addressed[],
): Promise<readonly (string | undefined)[]> => {
  const rows = await db
    .select({ id: functions.id, account: functions.account, region: functions.region, name: functions.name })
    .from(functions)
    .where(
      and(
        inArray(functions.account, distinct(asked.map(({ scope }) => scope.account))),
        inArray(functions.region, distinct(asked.map(({ scope }) => scope.region))),
        inArray(functions.name, distinct(asked.map(({ target }) => target.name))),
      ),
    )
  const ids = new Map(rows.map((row) => [nameOf(row, row.name), row.id]))
  const qualifiers = distinct(asked.map(({ target }) => target.qualifier ?? LATEST)).filter((name) => name !== LATEST)
  const there =
    qualifiers.length === 0 || ids.size === 0 ? new Set() : await findQualifiers(db, [...ids.values()], qualifiers)
  return asked.map(({ scope, target: { name, qualifier = LATEST } }) => {
    const id = ids.get(nameOf(scope, name))
    return qualifier === LATEST || there.has(`${id} ${qualifier}`) ? id : undefined
  })
}
