/** Reading functions and their versions, and locking them for a change. */
import { createHash } from "node:crypto"
import { and, asc, eq, inArray } from "drizzle-orm"
import type { FunctionSettings } from "../../src/db/function-values.ts"
import { functionLayerVersions, functionVersionLayers } from "../../src/db/function-layers.ts"
import { functionAliases, functionCodes, functions, functionVersions } from "../../src/db/functions.ts"
import type { SecretBox } from "../images/images.ts"
import type { Scope } from "../resources.ts"
import type { Database } from "../vm-row.ts"
import { functionArn, LATEST, parseVersion, type FunctionReference } from "./names.ts"
import { notFound } from "./refusals.ts"

export type FunctionRow = typeof functions.$inferSelect
export type VersionRow = typeof functionVersions.$inferSelect
export type AliasRow = typeof functionAliases.$inferSelect

/** A version as callers are told of it. */
export interface FunctionVersion {
  readonly name: string
  readonly number: number
  readonly settings: FunctionSettings
  readonly environment: Readonly<Record<string, string>> | undefined
  readonly code: { readonly sha256: string; readonly bytes: number }
  readonly layers: readonly { readonly arn: string; readonly bytes: number }[]
  readonly state: VersionRow["state"]
  readonly updateState: VersionRow["updateState"]
  readonly failure: VersionRow["failure"]
  readonly revisionId: string
  readonly modifiedAt: Date
}

const byName = (scope: Scope, name: string) =>
  and(eq(functions.account, scope.account), eq(functions.region, scope.region), eq(functions.name, name))

/** The 404 of a function that isn't there. */
export const functionNotFound = (scope: Scope, { name, qualifier }: FunctionReference) =>
  notFound(`Function not found: ${functionArn(scope, name, qualifier)}`)

/** The function's row; throws AWS's 404, which names what was asked for. */
export const findFunction = async (db: Database, asked: FunctionReference, scope: Scope): Promise<FunctionRow> => {
  const [row] = await db.select().from(functions).where(byName(scope, asked.name))
  if (row === undefined) throw functionNotFound(scope, asked)
  return row
}

/** The function's row, locked until the transaction's end: whoever changes anything of a function does so alone. */
export const lockFunction = async (tx: Database, asked: FunctionReference, scope: Scope): Promise<FunctionRow> => {
  const [row] = await tx.select().from(functions).where(byName(scope, asked.name)).for("update")
  if (row === undefined) throw functionNotFound(scope, asked)
  return row
}

/** An alias of a function, if there is one of this name. */
export const findAlias = async (db: Database, functionId: string, name: string): Promise<AliasRow | undefined> => {
  const [row] = await db
    .select()
    .from(functionAliases)
    .where(and(eq(functionAliases.functionId, functionId), eq(functionAliases.name, name)))
  return row
}

/** A version's row by its number, if there is one. */
export const findNumber = async (db: Database, functionId: string, number: number): Promise<VersionRow | undefined> => {
  const [row] = await db
    .select()
    .from(functionVersions)
    .where(and(eq(functionVersions.functionId, functionId), eq(functionVersions.number, number)))
  return row
}

/** The version that a reference means, by number or by alias; throws AWS's 404. */
export const findVersion = async (
  db: Database,
  asked: FunctionReference,
  scope: Scope,
): Promise<{ owner: FunctionRow; version: VersionRow }> => {
  const owner = await findFunction(db, asked, scope)
  const qualifier = asked.qualifier ?? LATEST
  const number = parseVersion(qualifier) ?? (await findAlias(db, owner.id, qualifier))?.number
  const version = number === undefined ? undefined : await findNumber(db, owner.id, number)
  if (version === undefined) throw functionNotFound(scope, asked)
  return { owner, version }
}

/** The environment variables of a version, `undefined` when none were ever given. */
export const openEnvironment = (secrets: SecretBox, sealed: Buffer | null): Record<string, string> | undefined =>
  sealed === null ? undefined : (JSON.parse(secrets.open(sealed)) as Record<string, string>)

/** Postgres gives a document's members back in an order of its own: here they have one. */
export const ordered = (_name: string, value: unknown) =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)))
    : value

/** The hash that two versions share exactly when they would run the same. */
export const definitionHash = (
  sha256: string,
  settings: FunctionSettings,
  environment: Readonly<Record<string, string>> | undefined,
): string =>
  createHash("sha256")
    .update(JSON.stringify([sha256, settings, environment ?? null], ordered))
    .digest("base64")

/** What callers are told of version rows, each beside its function's name, in the order given. */
export const describeVersions = async (
  db: Database,
  secrets: SecretBox,
  rows: readonly { readonly name: string; readonly version: VersionRow }[],
): Promise<FunctionVersion[]> => {
  if (rows.length === 0) return []
  const codes = await db
    .select()
    .from(functionCodes)
    .where(inArray(functionCodes.id, [...new Set(rows.map(({ version }) => version.codeId))]))
  const layers = await db
    .select({ versionId: functionVersionLayers.versionId, bytes: functionCodes.bytes })
    .from(functionVersionLayers)
    .innerJoin(functionLayerVersions, eq(functionLayerVersions.id, functionVersionLayers.layerVersionId))
    .innerJoin(functionCodes, eq(functionCodes.id, functionLayerVersions.codeId))
    .where(
      inArray(
        functionVersionLayers.versionId,
        rows.map(({ version }) => version.id),
      ),
    )
    .orderBy(asc(functionVersionLayers.position))
  return rows.map(({ name, version }) => {
    const code = codes.find(({ id }) => id === version.codeId)
    const sizes = layers.filter(({ versionId }) => versionId === version.id)
    return {
      name,
      number: version.number,
      settings: version.settings,
      environment: openEnvironment(secrets, version.sealedEnvironment),
      code: { sha256: code?.sha256 ?? "", bytes: code?.bytes ?? 0 },
      layers: version.settings.layers.map((arn, index) => ({ arn, bytes: sizes[index]?.bytes ?? 0 })),
      state: version.state,
      updateState: version.updateState,
      failure: version.failure,
      revisionId: version.revisionId,
      modifiedAt: version.modifiedAt,
    }
  })
}

/** What callers are told of one version. */
export const describeVersion = async (
  db: Database,
  secrets: SecretBox,
  name: string,
  version: VersionRow,
): Promise<FunctionVersion> => {
  const [described] = await describeVersions(db, secrets, [{ name, version }])
  if (described === undefined) throw new Error("The version was not described")
  return described
}
