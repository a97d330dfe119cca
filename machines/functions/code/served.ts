/** What serves `$LATEST` during an update: kept when the update of a working function begins, and forgotten when an update has succeeded. */
import { asc, eq } from "drizzle-orm"
import { functionServed, functionServedLayers } from "../../../src/db/function-served.ts"
import { attachedLayers } from "../layers/attached-layers.ts"
import type { Database } from "../../vm-row.ts"
import type { VersionRow } from "../rows.ts"
import type { Holdings } from "./unused-code.ts"

export type ServedRow = typeof functionServed.$inferSelect

/** To be called before anything of it changes. One whose last update failed isn't what serves: that is kept already, if there ever was any. */
export const keepServed = async (tx: Database, latest: VersionRow): Promise<void> => {
  if (latest.state !== "Active" || latest.updateState === "Failed") return
  const { id: versionId, codeId, settings, sealedEnvironment } = latest
  await tx.delete(functionServed).where(eq(functionServed.versionId, versionId))
  await tx.insert(functionServed).values({ versionId, codeId, settings, sealedEnvironment })
  const layers = await attachedLayers(tx, versionId)
  if (layers.length > 0)
    await tx
      .insert(functionServedLayers)
      .values(layers.map((layerVersionId, position) => ({ versionId, position, layerVersionId })))
}

/** What was kept of a version, if there is anything. */
export const findServed = async (db: Database, versionId: string): Promise<ServedRow | undefined> => {
  const [row] = await db.select().from(functionServed).where(eq(functionServed.versionId, versionId))
  return row
}

/** The layer versions of what was kept, the lowest first. */
export const servedLayers = async (db: Database, versionId: string): Promise<string[]> => {
  const rows = await db
    .select({ id: functionServedLayers.layerVersionId })
    .from(functionServedLayers)
    .where(eq(functionServedLayers.versionId, versionId))
    .orderBy(asc(functionServedLayers.position))
  return rows.map(({ id }) => id)
}

/** The version serves by itself from now on; answers what need not be held for the other any more. */
export const forgetServed = async (tx: Database, versionId: string): Promise<Holdings> => {
  const layerVersionIds = await servedLayers(tx, versionId)
  const gone = await tx
    .delete(functionServed)
    .where(eq(functionServed.versionId, versionId))
    .returning({ codeId: functionServed.codeId })
  return { codeIds: gone.map(({ codeId }) => codeId), layerVersionIds }
}
