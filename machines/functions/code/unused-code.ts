/** Removes what went with versions: zips that nobody has any more, and deleted layer versions that were only kept for them. */
import { and, eq, inArray, isNotNull, isNull, notExists, or, sql } from "drizzle-orm"
import { functionServed, functionServedLayers } from "../../../src/db/function-served.ts"
import { functionLayers, functionLayerVersions, functionVersionLayers } from "../../../src/db/function-layers.ts"
import { functionCodes, functionVersions } from "../../../src/db/functions.ts"
import { findServed, servedLayers } from "./served.ts"
import { attachedLayers } from "../layers/attached-layers.ts"
import type { FunctionsGround } from "../ground.ts"
import type { Database } from "../../vm-row.ts"

/** What versions hold on to, to be told before they go. */
export interface Holdings {
  readonly codeIds: readonly string[]
  readonly layerVersionIds: readonly string[]
}

export const holdingsOf = async (
  tx: Database,
  versions: readonly { id: string; codeId: string }[],
): Promise<Holdings> => {
  const [codes, layers] = [new Set<string>(), new Set<string>()]
  for (const { id, codeId } of versions) {
    codes.add(codeId)
    const served = await findServed(tx, id)
    if (served !== undefined) codes.add(served.codeId)
    for (const layer of [...(await attachedLayers(tx, id)), ...(await servedLayers(tx, id))]) layers.add(layer)
  }
  return { codeIds: [...codes], layerVersionIds: [...layers] }
}

const unattached = (db: Database) =>
  and(
    isNotNull(functionLayerVersions.deletedAt),
    notExists(
      db
        .select({ one: sql`1` })
        .from(functionVersionLayers)
        .where(eq(functionVersionLayers.layerVersionId, functionLayerVersions.id)),
    ),
    notExists(
      db
        .select({ one: sql`1` })
        .from(functionServedLayers)
        .where(eq(functionServedLayers.layerVersionId, functionLayerVersions.id)),
    ),
  )

/** Layers without a version that an account is remembered to have had in all regions, so that their numbers go on. */
const MAX_EMPTY_LAYERS = 1000

/** Forgets those beyond {@link MAX_EMPTY_LAYERS} that have had the fewest versions: their numbers would begin at 1 again. */
const forgetLayers = async (db: Database): Promise<void> => {
  await db.execute(sql`
    delete from ${functionLayers} where id in (
      select id from (
        select id, row_number() over (partition by account order by last_version desc, id) as place
        from ${functionLayers} layer
        where not exists (select from ${functionLayerVersions} version where version.layer_id = layer.id)
      ) as empty where place > ${MAX_EMPTY_LAYERS})`)
}

/** Looks after what is left of versions that are gone; what doesn't succeed is done at the next start. */
export const removeUnused = async (
  { db, codes, readiness, log }: Pick<FunctionsGround, "db" | "codes" | "readiness" | "log">,
  { codeIds, layerVersionIds }: Holdings,
): Promise<void> => {
  try {
    const gone =
      layerVersionIds.length === 0
        ? []
        : await db
            .delete(functionLayerVersions)
            .where(and(inArray(functionLayerVersions.id, [...layerVersionIds]), unattached(db)))
            .returning({ codeId: functionLayerVersions.codeId })
    for (const codeId of new Set([...codeIds, ...gone.map(({ codeId: id }) => id)])) await codes.forget(codeId)
    readiness.tidy()
    if (gone.length > 0) await forgetLayers(db)
  } catch (error) {
    log.error({ err: error }, "Code that no function has could not be removed")
  }
}

/** Removes all of this host that nobody has, which a death kept from being removed with its last owner. */
export const removeAllUnused = async (
  ground: Pick<FunctionsGround, "db" | "hostId" | "codes" | "readiness" | "log">,
): Promise<void> => {
  const { db, hostId } = ground
  const held = await db
    .select({ id: functionCodes.id, layerVersionId: functionLayerVersions.id })
    .from(functionCodes)
    .leftJoin(functionVersions, eq(functionVersions.codeId, functionCodes.id))
    .leftJoin(functionServed, eq(functionServed.codeId, functionCodes.id))
    .leftJoin(functionLayerVersions, eq(functionLayerVersions.codeId, functionCodes.id))
    .where(
      and(
        eq(functionCodes.hostId, hostId),
        isNull(functionVersions.id),
        isNull(functionServed.versionId),
        or(isNull(functionLayerVersions.id), isNotNull(functionLayerVersions.deletedAt)),
      ),
    )
  await removeUnused(ground, {
    codeIds: held.map(({ id }) => id),
    layerVersionIds: held.flatMap(({ layerVersionId }) => (layerVersionId === null ? [] : [layerVersionId])),
  })
}
