/** What an account may keep of code. */
import { and, eq, isNull, sql } from "drizzle-orm"
import { functionLayers, functionLayerVersions } from "../../src/db/function-layers.ts"
import { functionCodes, functions, functionVersions } from "../../src/db/functions.ts"
import type { Scope } from "../resources.ts"
import type { Database } from "../vm-row.ts"
import type { FunctionLimits } from "./ground.ts"
import { codeStorageExceeded } from "./refusals.ts"

export interface CodeUse {
  readonly bytes: number
  readonly versions: number
}

/** What an account's versions of functions and layers take in all regions, each counted though zips are kept once. */
export const codeUse = async (db: Database, { account }: Pick<Scope, "account">): Promise<CodeUse> => {
  const measured = {
    bytes: sql<string>`coalesce(sum(${functionCodes.bytes}), 0)`,
    versions: sql<number>`count(*)::int`,
  }
  const [ofFunctions] = await db
    .select(measured)
    .from(functionVersions)
    .innerJoin(functions, eq(functions.id, functionVersions.functionId))
    .innerJoin(functionCodes, eq(functionCodes.id, functionVersions.codeId))
    .where(eq(functions.account, account))
  const [ofLayers] = await db
    .select(measured)
    .from(functionLayerVersions)
    .innerJoin(functionLayers, eq(functionLayers.id, functionLayerVersions.layerId))
    .innerJoin(functionCodes, eq(functionCodes.id, functionLayerVersions.codeId))
    .where(and(eq(functionLayers.account, account), isNull(functionLayerVersions.deletedAt)))
  return {
    bytes: Number(ofFunctions?.bytes ?? 0) + Number(ofLayers?.bytes ?? 0),
    versions: (ofFunctions?.versions ?? 0) + (ofLayers?.versions ?? 0),
  }
}

/** Refuses what would be too much; until the transaction's end nobody else of this account counts. */
export const makeRoom = async (
  tx: Database,
  scope: Scope,
  limits: FunctionLimits,
  more: { bytes: number; versions: number },
): Promise<void> => {
  await tx.execute(sql`select pg_advisory_xact_lock(hashtext(${`function-code ${scope.account}`}))`)
  const { bytes, versions } = await codeUse(tx, scope)
  if (bytes + more.bytes > limits.codeBytes) throw codeStorageExceeded("Code storage limit exceeded.")
  if (versions + more.versions > limits.versions)
    throw codeStorageExceeded(
      `Code storage limit exceeded: there are ${versions} versions of functions and layers, and no more are kept than ${limits.versions}.`,
    )
}
