/** The layers that a version has: checked when they are attached, and held from then on. */
import { and, asc, eq, inArray, isNull, or, sql } from "drizzle-orm"
import { functionLayers, functionLayerVersions, functionVersionLayers } from "../../../src/db/function-layers.ts"
import { functionCodes, functionVersions } from "../../../src/db/functions.ts"
import type { Scope } from "../../resources.ts"
import type { Database } from "../../vm-row.ts"
import { CODE_LIMITS } from "../code/code-source.ts"
import { invalid } from "../refusals.ts"

const MAX_LAYERS = 5

interface LayerVersionReference {
  readonly name: string
  readonly number: number
}

const parseLayerVersion = (arn: string, scope: Scope): LayerVersionReference => {
  const [, region, account, name, number] =
    /^arn:aws:lambda:([a-z0-9-]+):(\d{12}):layer:([a-zA-Z0-9-_]+):(\d{1,9})$/.exec(arn) ?? []
  if (name === undefined || region !== scope.region || account !== scope.account)
    throw invalid(`Layer version ${arn} does not exist.`)
  return { name, number: Number(number) }
}

const distinct = (layers: readonly LayerVersionReference[], arns: readonly string[]) => {
  const first = new Map<string, number>()
  for (const [index, { name }] of layers.entries()) {
    const earlier = first.get(name)
    if (earlier !== undefined)
      throw invalid(
        `Two different versions of the same layer are not allowed to be referenced in the same function. ${arns[earlier]} and ${arns[index]} are versions of the same layer.`,
      )
    first.set(name, index)
  }
}

/** The layer versions attached to a version, the lowest first. */
export const attachedLayers = async (db: Database, versionId: string): Promise<string[]> => {
  const rows = await db
    .select({ id: functionVersionLayers.layerVersionId })
    .from(functionVersionLayers)
    .where(eq(functionVersionLayers.versionId, versionId))
    .orderBy(asc(functionVersionLayers.position))
  return rows.map(({ id }) => id)
}

/** Of a query of versions: the hashes of the zips of those, in the same order. */
export const attachedHashes = sql<string[]>`to_json(array(
  select ${functionCodes.sha256} from ${functionVersionLayers}
  inner join ${functionLayerVersions} on ${functionLayerVersions.id} = ${functionVersionLayers.layerVersionId}
  inner join ${functionCodes} on ${functionCodes.id} = ${functionLayerVersions.codeId}
  where ${functionVersionLayers.versionId} = ${functionVersions.id} order by ${functionVersionLayers.position}))`

/** The layer versions that ARNs name; a deleted one is found only for a function that has it already. */
export const findLayers = async (
  tx: Database,
  arns: readonly string[],
  attached: readonly string[],
  scope: Scope,
): Promise<string[]> => {
  if (arns.length > MAX_LAYERS) throw invalid(`Cannot reference more than ${MAX_LAYERS} layers.`)
  const asked = arns.map((arn) => parseLayerVersion(arn, scope))
  distinct(asked, arns)
  const ids: string[] = []
  for (const [index, { name, number }] of asked.entries()) {
    const [row] = await tx
      .select({ id: functionLayerVersions.id })
      .from(functionLayerVersions)
      .innerJoin(functionLayers, eq(functionLayers.id, functionLayerVersions.layerId))
      .where(
        and(
          eq(functionLayers.account, scope.account),
          eq(functionLayers.region, scope.region),
          eq(functionLayers.name, name),
          eq(functionLayerVersions.number, number),
          attached.length === 0
            ? isNull(functionLayerVersions.deletedAt)
            : or(isNull(functionLayerVersions.deletedAt), inArray(functionLayerVersions.id, [...attached])),
        ),
      )
      .for("share")
    if (row === undefined) throw invalid(`Layer version ${arns[index]} does not exist.`)
    ids.push(row.id)
  }
  return ids
}

/** Writes down which layers a version has, instead of those it had. */
export const attachLayers = async (
  tx: Database,
  versionId: string,
  layerVersionIds: readonly string[],
): Promise<void> => {
  await tx.delete(functionVersionLayers).where(eq(functionVersionLayers.versionId, versionId))
  if (layerVersionIds.length > 0)
    await tx
      .insert(functionVersionLayers)
      .values(layerVersionIds.map((layerVersionId, position) => ({ versionId, position, layerVersionId })))
}

/** Refuses code and layers that are too large together once they are unpacked. */
export const checkUnpackedSize = async (
  tx: Database,
  unpackedBytes: number,
  layerVersionIds: readonly string[],
): Promise<void> => {
  if (layerVersionIds.length === 0) return
  const layers = await tx
    .select({ bytes: functionCodes.unpackedBytes })
    .from(functionLayerVersions)
    .innerJoin(functionCodes, eq(functionCodes.id, functionLayerVersions.codeId))
    .where(inArray(functionLayerVersions.id, [...layerVersionIds]))
  const all = layers.reduce((sum, { bytes }) => sum + bytes, unpackedBytes)
  if (all > CODE_LIMITS.unpackedBytes)
    throw invalid(
      `Function code combined with layers exceeds the maximum allowed size of ${CODE_LIMITS.unpackedBytes} bytes. The actual size is ${all} bytes.`,
    )
}
