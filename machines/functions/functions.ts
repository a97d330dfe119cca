/** Making, reading and removing functions. */
import { randomUUID } from "node:crypto"
import { and, asc, eq, sql } from "drizzle-orm"
import type { FunctionSettings } from "../../src/db/function-values.ts"
import { functionAliases, functions, functionVersions } from "../../src/db/functions.ts"
import { recordChange } from "../history.ts"
import type { Caller, Page, PageRequest, Scope } from "../resources.ts"
import { attachLayers, checkUnpackedSize, findLayers } from "./layers/attached-layers.ts"
import { openCode, type CodeSource } from "./code/code-source.ts"
import type { FunctionsGround } from "./ground.ts"
import { functionArn, LATEST, LATEST_PUBLISHED, parseVersion, type FunctionReference } from "./names.ts"
import { publish } from "./publishing/publication.ts"
import { removeQualified } from "./publishing/qualified.ts"
import { conflict, invalid } from "./refusals.ts"
import { makeRoom } from "./room.ts"
import {
  definitionHash,
  describeVersion,
  describeVersions,
  findFunction,
  findNumber,
  findVersion,
  lockFunction,
  type FunctionVersion,
} from "./rows.ts"
import { holdingsOf, removeUnused } from "./code/unused-code.ts"

export interface FunctionRequest {
  readonly name: string
  readonly settings: FunctionSettings
  readonly environment: Readonly<Record<string, string>> | undefined
  readonly tags: Record<string, string>
  readonly code: CodeSource
  readonly publish: boolean
}

export interface DescribedFunction {
  readonly version: FunctionVersion
  readonly tags: Record<string, string>
  readonly reservedConcurrency: number | null
}

/** The verbs about functions as wholes. */
export const createFunctionVerbs = (ground: FunctionsGround) => {
  const { db, secrets, codes, settling, changes, limits } = ground

  const create = async (request: FunctionRequest, caller: Caller): Promise<FunctionVersion> => {
    const { name, settings, environment, tags } = request
    if (settings.deadLetterArn !== null) ground.checkDestination(settings.deadLetterArn, "deadLetter", caller)
    await using code = await openCode(request.code, ground, caller, ground.signal)
    const { made, begun } = await db.transaction(async (tx) => {
      const [owner] = await tx
        .insert(functions)
        .values({ id: randomUUID(), account: caller.account, region: caller.region, name, tags })
        .onConflictDoNothing()
        .returning()
      if (owner === undefined) throw conflict(`Function already exist: ${name}`)
      const layers = await findLayers(tx, settings.layers, [], caller)
      await checkUnpackedSize(tx, code.unpackedBytes, layers)
      const copies = request.publish ? 2 : 1
      await makeRoom(tx, caller, limits, { bytes: code.bytes * copies, versions: copies })
      const [latest] = await tx
        .insert(functionVersions)
        .values({
          id: randomUUID(),
          functionId: owner.id,
          number: 0,
          codeId: await codes.keep(tx, code, ground.signal),
          settings,
          sealedEnvironment: environment === undefined ? null : secrets.seal(JSON.stringify(environment)),
          definitionHash: definitionHash(code.sha256, settings, environment),
          state: "Pending",
          revisionId: randomUUID(),
          modifiedAt: new Date(),
        })
        .returning()
      if (latest === undefined) throw new Error("The function's row was not returned")
      await attachLayers(tx, latest.id, layers)
      await recordChange(tx, {
        scope: caller,
        resource: functionArn(caller, name),
        type: "function.created",
        cause: "api",
        by: caller,
        details: { codeSha256: code.sha256 },
      })
      if (!request.publish) return { made: await describeVersion(tx, secrets, name, latest), begun: [latest.id] }
      const { version } = await publish(tx, ground, owner, latest, undefined, caller)
      return { made: await describeVersion(tx, secrets, name, version), begun: [latest.id, version.id] }
    })
    for (const id of begun) settling.begin(id)
    return made
  }

  const get = async (asked: FunctionReference, scope: Scope): Promise<DescribedFunction> => {
    const { owner, version } = await findVersion(db, asked, scope)
    return {
      version: await describeVersion(db, secrets, owner.name, version),
      tags: owner.tags,
      reservedConcurrency: owner.reservedConcurrency,
    }
  }

  /** By name, and each function's versions by number when all are asked for. */
  const list = async (all: boolean, page: PageRequest, scope: Scope): Promise<Page<FunctionVersion>> => {
    const [afterName, afterNumber] = page.after?.split(" ") ?? []
    const rows = await db
      .select({ name: functions.name, version: functionVersions })
      .from(functions)
      .innerJoin(functionVersions, eq(functionVersions.functionId, functions.id))
      .where(
        and(
          eq(functions.account, scope.account),
          eq(functions.region, scope.region),
          all ? undefined : eq(functionVersions.number, 0),
          afterName === undefined
            ? undefined
            : sql`(${functions.name} collate "C", ${functionVersions.number}) > (${afterName}, ${Number(afterNumber)}::int)`,
        ),
      )
      .orderBy(sql`${functions.name} collate "C"`, asc(functionVersions.number))
      .limit(page.limit + 1)
    const shown = rows.slice(0, page.limit)
    const last = shown.at(-1)
    return {
      items: await describeVersions(db, secrets, shown),
      next: rows.length > page.limit && last !== undefined ? `${last.name} ${last.version.number}` : undefined,
    }
  }

  const remove = async (asked: FunctionReference, caller: Caller): Promise<void> => {
    const { functionId, holdings } = await db.transaction(async (tx) => {
      const owner = await lockFunction(tx, { name: asked.name, qualifier: undefined }, caller)
      if (asked.qualifier !== undefined) {
        const held = await removeVersion(tx, owner.id, asked.qualifier, asked.name, caller)
        return { functionId: owner.id, holdings: held }
      }
      const versions = await tx.select().from(functionVersions).where(eq(functionVersions.functionId, owner.id))
      const held = await holdingsOf(tx, versions)
      await tx.delete(functions).where(eq(functions.id, owner.id))
      const resource = functionArn(caller, asked.name)
      await recordChange(tx, { scope: caller, resource, type: "function.deleted", cause: "api", by: caller })
      return { functionId: owner.id, holdings: held }
    })
    changes.tell(functionId)
    await removeUnused(ground, holdings)
  }

  /** One version; none of this number is as good as one that was removed. */
  const removeVersion = async (
    tx: Parameters<typeof findNumber>[0],
    functionId: string,
    qualifier: string,
    name: string,
    caller: Caller,
  ) => {
    if (qualifier === LATEST) throw invalid("$LATEST version cannot be deleted without deleting the function.")
    if (qualifier === LATEST_PUBLISHED) return { codeIds: [], layerVersionIds: [] }
    const number = parseVersion(qualifier)
    if (number === undefined) throw invalid("Deletion of aliases is not currently supported.")
    const version = await findNumber(tx, functionId, number)
    if (version === undefined) return { codeIds: [], layerVersionIds: [] }
    const aliases = await tx
      .select({ name: functionAliases.name })
      .from(functionAliases)
      .where(
        and(
          eq(functionAliases.functionId, functionId),
          sql`${number} in (${functionAliases.number}, ${functionAliases.otherNumber})`,
        ),
      )
      .orderBy(asc(functionAliases.name))
    if (aliases.length > 0)
      throw conflict(
        `Unable to delete version because the following aliases reference it: [${aliases.map((alias) => alias.name).join(", ")}]`,
      )
    const held = await holdingsOf(tx, [version])
    await tx.delete(functionVersions).where(eq(functionVersions.id, version.id))
    await removeQualified(tx, functionId, qualifier)
    const resource = functionArn(caller, name, qualifier)
    await recordChange(tx, { scope: caller, resource, type: "function.version-deleted", cause: "api", by: caller })
    return held
  }

  return {
    create,
    get,
    list,
    remove,
    /** Throws AWS's 404 unless the function is there. */
    exists: async (asked: FunctionReference, scope: Scope): Promise<void> => {
      await findFunction(db, asked, scope)
    },
  }
}
