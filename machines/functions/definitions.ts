/** Definitions, made of rows. */
import { createHash } from "node:crypto"
import { asc, eq } from "drizzle-orm"
import type { FunctionSettings } from "../../src/db/function-values.ts"
import {
  functionCodes,
  functionLayerVersions,
  functions,
  functionVersionLayers,
  functionVersions,
} from "../../src/db/functions.ts"
import type { SecretBox } from "../images.ts"
import type { Database } from "../vm-row.ts"
import type { Definition } from "./definition.ts"
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
    .select({ version: functionVersions, owner: functions, sha256: functionCodes.sha256 })
    .from(functionVersions)
    .innerJoin(functions, eq(functions.id, functionVersions.functionId))
    .innerJoin(functionCodes, eq(functionCodes.id, functionVersions.codeId))
    .where(eq(functionVersions.id, versionId))
  if (found === undefined) return undefined
  const { version, owner, sha256 } = found
  const layers = await db
    .select({ sha256: functionCodes.sha256 })
    .from(functionVersionLayers)
    .innerJoin(functionLayerVersions, eq(functionLayerVersions.id, functionVersionLayers.layerVersionId))
    .innerJoin(functionCodes, eq(functionCodes.id, functionLayerVersions.codeId))
    .where(eq(functionVersionLayers.versionId, versionId))
    .orderBy(asc(functionVersionLayers.position))
  return {
    revisionId: version.revisionId,
    definition: withId({
      scope: { account: owner.account, region: owner.region },
      functionId: owner.id,
      versionId,
      name: owner.name,
      version: versionName(version.number),
      settings: version.settings,
      environment: openEnvironment(secrets, version.sealedEnvironment) ?? {},
      code: sha256,
      layers: layers.map((layer) => layer.sha256),
    }),
  }
}

/** Settings that no environment sees. */
const unseen = { description: "", deadLetterArn: null, kmsKeyArn: null } satisfies Partial<FunctionSettings>

const withId = (definition: Omit<Definition, "id">): Definition => ({
  id: createHash("sha256")
    .update(JSON.stringify({ ...definition, settings: { ...definition.settings, ...unseen } }, ordered))
    .digest("base64url"),
  ...definition,
})
