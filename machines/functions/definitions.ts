/** Definitions, made of rows. */
import { createHash } from "node:crypto"
import { eq, inArray } from "drizzle-orm"
import type { FunctionSettings } from "../../src/db/function-values.ts"
import { functionLayerVersions } from "../../src/db/function-layers.ts"
import { functionCodes, functions, functionVersions } from "../../src/db/functions.ts"
import type { SecretBox } from "../images/images.ts"
import type { Database } from "../vm-row.ts"
import { findServed, servedLayers } from "./code/served.ts"
import type { Definition } from "./definition.ts"
import { attachedHashes } from "./layers/attached-layers.ts"
import { versionName } from "./names.ts"
import { openEnvironment, ordered } from "./rows.ts"

/** What serves a version now, and the row's revision that says so. */
export interface ServedDefinition {
  readonly revisionId: string
  readonly definition: Definition
}

/** What serves a version now; `undefined` when it is gone. */
export const findDefinition = async (
  db: Database,
  secrets: SecretBox,
  versionId: string,
): Promise<ServedDefinition | undefined> => {
  const [found] = await db
    .select({ version: functionVersions, owner: functions, code: functionCodes.sha256, layers: attachedHashes })
    .from(functionVersions)
    .innerJoin(functions, eq(functions.id, functionVersions.functionId))
    .innerJoin(functionCodes, eq(functionCodes.id, functionVersions.codeId))
    .where(eq(functionVersions.id, versionId))
  if (found === undefined) return undefined
  const { version, owner, code, layers } = found
  // What is being changed, or could not be, is served as it was.
  const served = version.updateState === "Successful" ? undefined : await findServed(db, versionId)
  const { settings, sealedEnvironment } = served ?? version
  const zips =
    served === undefined ? { code, layers } : await zipsOf(db, served.codeId, await servedLayers(db, versionId))
  if (zips === undefined) return undefined
  return {
    revisionId: version.revisionId,
    definition: withId({
      scope: { account: owner.account, region: owner.region },
      functionId: owner.id,
      versionId,
      name: owner.name,
      version: versionName(version.number),
      settings,
      environment: openEnvironment(secrets, sealedEnvironment) ?? {},
      ...zips,
    }),
  }
}

/** The hashes of code and layers; `undefined` when they are gone. */
export const zipsOf = async (
  db: Database,
  codeId: string,
  layerVersionIds: readonly string[],
): Promise<Pick<Definition, "code" | "layers"> | undefined> => {
  const [[code], rows] = await Promise.all([
    db.select({ sha256: functionCodes.sha256 }).from(functionCodes).where(eq(functionCodes.id, codeId)),
    layerVersionIds.length === 0
      ? []
      : db
          .select({ id: functionLayerVersions.id, sha256: functionCodes.sha256 })
          .from(functionLayerVersions)
          .innerJoin(functionCodes, eq(functionCodes.id, functionLayerVersions.codeId))
          .where(inArray(functionLayerVersions.id, [...layerVersionIds])),
  ])
  const layers = layerVersionIds.flatMap((id) => rows.find((row) => row.id === id)?.sha256 ?? [])
  return code === undefined || layers.length < layerVersionIds.length ? undefined : { code: code.sha256, layers }
}

/** Settings that no environment sees. */
const unseen = { description: "", deadLetterArn: null, kmsKeyArn: null } satisfies Partial<FunctionSettings>

const withId = (definition: Omit<Definition, "id">): Definition => ({
  id: createHash("sha256")
    .update(JSON.stringify({ ...definition, settings: { ...definition.settings, ...unseen } }, ordered))
    .digest("base64url"),
  ...definition,
})
