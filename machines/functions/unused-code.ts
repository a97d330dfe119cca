/** Removes what went with versions: zips that nobody has any more, and deleted layer versions that were only kept for them. */
import { and, inArray, isNotNull, notExists, eq, sql } from "drizzle-orm"
import { functionLayerVersions, functionVersionLayers } from "../../src/db/functions.ts"
import { attachedLayers } from "./attached-layers.ts"
import type { FunctionsGround } from "./ground.ts"
import type { Database } from "../vm-row.ts"

/** What versions hold on to, to be told before they go. */
export interface Holdings {
  readonly codeIds: readonly string[]
  readonly layerVersionIds: readonly string[]
}

export const holdingsOf = async (
  tx: Database,
  versions: readonly { id: string; codeId: string }[],
): Promise<Holdings> => {
  const layers = new Set<string>()
  for (const { id } of versions) for (const layer of await attachedLayers(tx, id)) layers.add(layer)
  return { codeIds: [...new Set(versions.map(({ codeId }) => codeId))], layerVersionIds: [...layers] }
}

/** Looks after what is left of versions that are gone; what doesn't succeed is done at the next start. */
export const removeUnused = async (
  { db, codes, log }: Pick<FunctionsGround, "db" | "codes" | "log">,
  { codeIds, layerVersionIds }: Holdings,
): Promise<void> => {
  try {
    const gone =
      layerVersionIds.length === 0
        ? []
        : await db
            .delete(functionLayerVersions)
            .where(
              and(
                inArray(functionLayerVersions.id, [...layerVersionIds]),
                isNotNull(functionLayerVersions.deletedAt),
                notExists(
                  db
                    .select({ one: sql`1` })
                    .from(functionVersionLayers)
                    .where(eq(functionVersionLayers.layerVersionId, functionLayerVersions.id)),
                ),
              ),
            )
            .returning({ codeId: functionLayerVersions.codeId })
    for (const codeId of new Set([...codeIds, ...gone.map(({ codeId: id }) => id)])) await codes.forget(codeId)
  } catch (error) {
    log.error({ err: error }, "Code that no function has could not be removed")
  }
}
