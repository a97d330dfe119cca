/** Changing `$LATEST`: its code, or how it runs. */
import { randomUUID } from "node:crypto"
import { eq } from "drizzle-orm"
import type { FunctionSettings } from "../../src/db/function-values.ts"
import { functionCodes, functionVersions } from "../../src/db/functions.ts"
import { recordChange } from "../history.ts"
import type { Caller, Scope } from "../resources.ts"
import type { Database } from "../vm-row.ts"
import { attachedLayers, attachLayers, checkUnpackedSize, findLayers } from "./layers/attached-layers.ts"
import { openCode, type CheckedCode, type CodeSource } from "./code/code-source.ts"
import type { FunctionsGround } from "./ground.ts"
import { functionArn } from "./names.ts"
import { publish } from "./publishing/publication.ts"
import { checkRevision, conflict } from "./refusals.ts"
import { makeRoom } from "./room.ts"
import {
  definitionHash,
  describeVersion,
  findNumber,
  functionNotFound,
  lockFunction,
  openEnvironment,
  type FunctionVersion,
  type VersionRow,
} from "./rows.ts"
import { keepServed } from "./code/served.ts"
import { holdingsOf, removeUnused } from "./code/unused-code.ts"

export interface CodeUpdate {
  readonly code: CodeSource
  readonly architectures: string[] | undefined
  readonly publish: boolean
  /** Answers what would be, and keeps nothing. */
  readonly dryRun: boolean
  readonly revisionId: string | undefined
}

/** What is left out stays as it is. */
export interface SettingsUpdate {
  readonly change: (settings: FunctionSettings) => FunctionSettings
  readonly environment: Readonly<Record<string, string>> | undefined
  readonly revisionId: string | undefined
}

/** 409 while the row is at something. */
export const checkSettled = (version: VersionRow, name: string, scope: Scope): void => {
  const arn = functionArn(scope, name)
  if (version.state === "Pending")
    throw conflict(
      `The operation cannot be performed at this time. The resource ${arn} is currently in the following state: 'Pending'. StateReasonCode: Creating`,
    )
  if (version.updateState === "InProgress")
    throw conflict(`The operation cannot be performed at this time. An update is in progress for resource: ${arn}`)
}

/** The verbs that change a function's `$LATEST`. */
export const createUpdateVerbs = (ground: FunctionsGround) => {
  const { db, secrets, codes, settling, limits } = ground

  const lockLatest = async (tx: Database, name: string, revisionId: string | undefined, caller: Caller) => {
    const owner = await lockFunction(tx, { name, qualifier: undefined }, caller)
    const latest = await findNumber(tx, owner.id, 0)
    if (latest === undefined) throw functionNotFound(caller, { name, qualifier: undefined })
    checkSettled(latest, name, caller)
    checkRevision(revisionId, latest.revisionId)
    const [code] = await tx.select().from(functionCodes).where(eq(functionCodes.id, latest.codeId))
    if (code === undefined) throw new Error("A version without code")
    return { owner, latest, code }
  }

  const store = async (
    tx: Database,
    latest: VersionRow,
    code: { id: string; sha256: string },
    settings: FunctionSettings,
    environment: Readonly<Record<string, string>> | undefined,
    details: { name: string; type: string; caller: Caller },
  ) => {
    const [row] = await tx
      .update(functionVersions)
      .set({
        codeId: code.id,
        settings,
        sealedEnvironment: environment === undefined ? null : secrets.seal(JSON.stringify(environment)),
        definitionHash: definitionHash(code.sha256, settings, environment),
        updateState: "InProgress",
        failure: null,
        revisionId: randomUUID(),
        modifiedAt: new Date(),
      })
      .where(eq(functionVersions.id, latest.id))
      .returning()
    if (row === undefined) throw new Error("The function's row was not returned")
    const { name, type, caller } = details
    const resource = functionArn(caller, name)
    await recordChange(tx, {
      scope: caller,
      resource,
      type,
      cause: "api",
      by: caller,
      details: { codeSha256: code.sha256 },
    })
    return row
  }

  const updateCodeIn = async (tx: Database, name: string, asked: CodeUpdate, code: CheckedCode, caller: Caller) => {
    const { owner, latest } = await lockLatest(tx, name, asked.revisionId, caller)
    const layers = await attachedLayers(tx, latest.id)
    await checkUnpackedSize(tx, code.unpackedBytes, layers)
    const copies = asked.publish ? 2 : 1
    await makeRoom(tx, caller, limits, { bytes: code.bytes * copies, versions: copies - 1 })
    const settings = { ...latest.settings, ...(asked.architectures ? { architectures: asked.architectures } : {}) }
    if (asked.dryRun) {
      const would = await describeVersion(tx, secrets, name, { ...latest, settings })
      const made = { ...would, code: { sha256: code.sha256, bytes: code.bytes } }
      return { made, begun: [], held: { codeIds: [], layerVersionIds: [] } }
    }
    const environment = openEnvironment(secrets, latest.sealedEnvironment)
    const held = await holdingsOf(tx, [latest])
    await keepServed(tx, latest)
    const kept = { id: await codes.keep(tx, code, ground.signal), sha256: code.sha256 }
    const row = await store(tx, latest, kept, settings, environment, { name, type: "function.code-updated", caller })
    const published = asked.publish ? await publish(tx, ground, owner, row, undefined, caller) : undefined
    const made = await describeVersion(tx, secrets, name, published?.version ?? row)
    return { made, begun: [row.id, ...(published?.isNew === true ? [published.version.id] : [])], held }
  }

  return {
    async updateCode(name: string, asked: CodeUpdate, caller: Caller): Promise<FunctionVersion> {
      await using code = await openCode(asked.code, ground, caller, ground.signal)
      const { made, begun, held } = await db.transaction((tx) => updateCodeIn(tx, name, asked, code, caller))
      for (const id of begun) settling.begin(id)
      await removeUnused(ground, held)
      return made
    },

    async updateSettings(name: string, asked: SettingsUpdate, caller: Caller): Promise<FunctionVersion> {
      const updated = await db.transaction(async (tx) => {
        const { latest, code } = await lockLatest(tx, name, asked.revisionId, caller)
        const settings = asked.change(latest.settings)
        const { deadLetterArn } = settings
        // One that was taken when it could be reached does not stand against other changes.
        if (deadLetterArn !== null && deadLetterArn !== latest.settings.deadLetterArn)
          ground.checkDestination(deadLetterArn, "deadLetter", caller)
        const environment = asked.environment ?? openEnvironment(secrets, latest.sealedEnvironment)
        const before = await holdingsOf(tx, [latest])
        const layers = await findLayers(tx, settings.layers, before.layerVersionIds, caller)
        await checkUnpackedSize(tx, code.unpackedBytes, layers)
        await keepServed(tx, latest)
        await attachLayers(tx, latest.id, layers)
        const details = { name, type: "function.settings-updated", caller }
        const row = await store(tx, latest, code, settings, environment, details)
        return { made: await describeVersion(tx, secrets, name, row), id: row.id, before }
      })
      settling.begin(updated.id)
      await removeUnused(ground, { codeIds: [], layerVersionIds: updated.before.layerVersionIds })
      return updated.made
    },
  }
}
