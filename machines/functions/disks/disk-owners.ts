/** Who needs which disks: every version of this host's functions, what is served instead of one, and every environment that isn't over. */
import { eq, sql, type SQL } from "drizzle-orm"
import type { AnyPgColumn } from "drizzle-orm/pg-core"
import { functionServed, functionServedLayers } from "../../../src/db/function-served.ts"
import { functionLayerVersions, functionVersionLayers } from "../../../src/db/function-layers.ts"
import { functionCodes, functionVersions } from "../../../src/db/functions.ts"
import type { Secrets } from "../../../src/secrets.ts"
import { liveEnvironments, openDefinition } from "../../environments/environment-row.ts"
import type { Database } from "../../vm-row.ts"
import type { DiskOwner } from "./function-disks.ts"

const toOwner = (row: { code: string; layers: string[]; temporaryMiB: number }): DiskOwner => ({
  code: row.code,
  layers: row.layers,
  settings: { temporaryMiB: row.temporaryMiB },
})

/** A document of the hashes of what is attached to a row, the lowest first. */
const layersOf = (
  attached: { versionId: AnyPgColumn; layerVersionId: AnyPgColumn; position: AnyPgColumn },
  table: SQL,
  versionId: AnyPgColumn,
) =>
  sql<string[]>`coalesce((
    select json_agg(code.sha256 order by ${attached.position})
    from ${table}
    join ${functionLayerVersions} layer on layer.id = ${attached.layerVersionId}
    join ${functionCodes} code on code.id = layer.code_id
    where ${attached.versionId} = ${versionId}), '[]')`

export const diskOwners = async (
  db: Database,
  secrets: Pick<Secrets, "open">,
  hostId: string,
): Promise<readonly DiskOwner[]> => {
  const room = (settings: AnyPgColumn) => sql<number>`(${settings}->>'temporaryMiB')::int`
  const versions = await db
    .select({
      code: functionCodes.sha256,
      temporaryMiB: room(functionVersions.settings),
      layers: layersOf(functionVersionLayers, sql`${functionVersionLayers}`, functionVersions.id),
    })
    .from(functionVersions)
    .innerJoin(functionCodes, eq(functionCodes.id, functionVersions.codeId))
    .where(eq(functionCodes.hostId, hostId))
  const served = await db
    .select({
      code: functionCodes.sha256,
      temporaryMiB: room(functionServed.settings),
      layers: layersOf(functionServedLayers, sql`${functionServedLayers}`, functionServed.versionId),
    })
    .from(functionServed)
    .innerJoin(functionCodes, eq(functionCodes.id, functionServed.codeId))
    .where(eq(functionCodes.hostId, hostId))
  const environments = await liveEnvironments(db, hostId)
  return [...[...versions, ...served].map(toOwner), ...environments.map((row) => openDefinition(secrets, row))]
}
