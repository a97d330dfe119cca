/** Layers: zips that functions have below their code, versioned and never changed. */
import { randomUUID } from "node:crypto"
import { and, desc, eq, isNull, lt, sql } from "drizzle-orm"
import type { PolicyStatement } from "../../../src/db/function-values.ts"
import { functionLayers, functionLayerVersions } from "../../../src/db/function-layers.ts"
import { functionCodes } from "../../../src/db/functions.ts"
import { recordChange } from "../../history.ts"
import type { Caller, Page, PageRequest, Scope } from "../../resources.ts"
import type { Database } from "../../vm-row.ts"
import { openCode, type CodeSource } from "../code/code-source.ts"
import type { FunctionsGround } from "../ground.ts"
import { layerArn } from "../names.ts"
import { addStatement, removeStatement, toPolicyText, type Permission } from "../access/policy.ts"
import { checkRevision, noSuchResource } from "../refusals.ts"
import { makeRoom } from "../room.ts"
import { removeUnused } from "../code/unused-code.ts"

export interface LayerRequest {
  readonly code: CodeSource
  readonly description: string
  readonly licenseInfo: string | null
  readonly runtimes: string[] | null
  readonly architectures: string[] | null
}

type LayerVersionRow = typeof functionLayerVersions.$inferSelect

export interface LayerVersion extends Pick<
  LayerVersionRow,
  "number" | "description" | "licenseInfo" | "runtimes" | "architectures" | "createdAt"
> {
  readonly name: string
  readonly code: { readonly sha256: string; readonly bytes: number }
}

/** What a layer must say that it is for. */
export interface LayerFilter {
  readonly runtime: string | undefined
  readonly architecture: string | undefined
}

/** The column's largest value: no version has a higher number. */
const MAX_NUMBER = 2 ** 31 - 1

/** The verbs about layers. */
export const createLayerVerbs = (ground: FunctionsGround) => {
  const { db, codes, limits } = ground

  const there = (scope: Scope) =>
    and(
      eq(functionLayers.account, scope.account),
      eq(functionLayers.region, scope.region),
      isNull(functionLayerVersions.deletedAt),
    )
  const withNumber = (name: string, number: number, scope: Scope) =>
    and(
      there(scope),
      eq(functionLayers.name, name),
      Math.abs(number) > MAX_NUMBER ? sql`false` : eq(functionLayerVersions.number, number),
    )
  const fits = ({ runtime, architecture }: LayerFilter) =>
    and(
      runtime === undefined ? undefined : sql`${functionLayerVersions.runtimes} ? ${runtime}`,
      architecture === undefined ? undefined : sql`${functionLayerVersions.architectures} ? ${architecture}`,
    )
  const select = (tx: Database) =>
    tx
      .select({ name: functionLayers.name, version: functionLayerVersions, code: functionCodes })
      .from(functionLayerVersions)
      .innerJoin(functionLayers, eq(functionLayers.id, functionLayerVersions.layerId))
      .innerJoin(functionCodes, eq(functionCodes.id, functionLayerVersions.codeId))

  const find = async (tx: Database, name: string, number: number, scope: Scope) => {
    const [row] = await select(tx).where(withNumber(name, number, scope))
    if (row === undefined) throw noSuchResource()
    return row
  }
  const toVersion = ({ name, version, code }: Awaited<ReturnType<typeof find>>): LayerVersion => ({
    ...version,
    name,
    code: { sha256: code.sha256, bytes: code.bytes },
  })
  const record = (tx: Database, name: string, number: number, verb: string, caller: Caller) =>
    recordChange(tx, {
      scope: caller,
      resource: layerArn(caller, name, number),
      type: `layer.${verb}`,
      cause: "api",
      by: caller,
    })

  return {
    async publish(name: string, request: LayerRequest, caller: Caller): Promise<LayerVersion> {
      await using code = await openCode(request.code, ground, caller, ground.signal)
      return await db.transaction(async (tx) => {
        const key = { account: caller.account, region: caller.region, name }
        const [layer] = await tx
          .insert(functionLayers)
          .values({ id: randomUUID(), ...key, lastVersion: 1 })
          .onConflictDoUpdate({
            target: [functionLayers.account, functionLayers.region, functionLayers.name],
            set: { lastVersion: sql`${functionLayers.lastVersion} + 1` },
          })
          .returning()
        if (layer === undefined) throw new Error("The layer's row was not returned")
        await makeRoom(tx, caller, limits, { bytes: code.bytes, versions: 1 })
        const { code: _code, ...described } = request
        await tx.insert(functionLayerVersions).values({
          id: randomUUID(),
          layerId: layer.id,
          number: layer.lastVersion,
          codeId: await codes.keep(tx, code, ground.signal),
          ...described,
          createdAt: new Date(),
        })
        await record(tx, name, layer.lastVersion, "published", caller)
        return toVersion(await find(tx, name, layer.lastVersion, caller))
      })
    },

    get: async (name: string, number: number, scope: Scope): Promise<LayerVersion> =>
      toVersion(await find(db, name, number, scope)),

    /** Functions that have it keep it; one that isn't there is as good as one that was removed. */
    async remove(name: string, number: number, caller: Caller): Promise<void> {
      const removed = await db.transaction(async (tx) => {
        const [row] = await select(tx).where(withNumber(name, number, caller))
        if (row === undefined) return undefined
        await tx
          .update(functionLayerVersions)
          .set({ deletedAt: new Date() })
          .where(eq(functionLayerVersions.id, row.version.id))
        await record(tx, name, number, "deleted", caller)
        return row.version.id
      })
      if (removed !== undefined) await removeUnused(ground, { codeIds: [], layerVersionIds: [removed] })
    },

    /** Newest first. */
    async listVersions(
      name: string,
      filter: LayerFilter,
      page: PageRequest,
      scope: Scope,
    ): Promise<Page<LayerVersion>> {
      const rows = await select(db)
        .where(
          and(
            there(scope),
            eq(functionLayers.name, name),
            fits(filter),
            page.after === undefined ? undefined : lt(functionLayerVersions.number, Number(page.after)),
          ),
        )
        .orderBy(desc(functionLayerVersions.number))
        .limit(page.limit + 1)
      return {
        items: rows.slice(0, page.limit).map(toVersion),
        next: rows.length > page.limit ? String(rows[page.limit - 1]?.version.number) : undefined,
      }
    },

    /** The newest version of each that fits, by name. */
    async list(filter: LayerFilter, page: PageRequest, scope: Scope): Promise<Page<LayerVersion>> {
      const newest = db
        .select({
          layerId: functionLayerVersions.layerId,
          number: sql<number>`max(${functionLayerVersions.number})`.as("newest"),
        })
        .from(functionLayerVersions)
        .where(and(isNull(functionLayerVersions.deletedAt), fits(filter)))
        .groupBy(functionLayerVersions.layerId)
        .as("newest_versions")
      const name = sql`${functionLayers.name} collate "C"`
      const rows = await select(db)
        .innerJoin(newest, and(eq(newest.layerId, functionLayers.id), eq(newest.number, functionLayerVersions.number)))
        .where(and(there(scope), page.after === undefined ? undefined : sql`${name} > ${page.after}`))
        .orderBy(name)
        .limit(page.limit + 1)
      return {
        items: rows.slice(0, page.limit).map(toVersion),
        next: rows.length > page.limit ? rows[page.limit - 1]?.name : undefined,
      }
    },

    addPermission: (
      name: string,
      number: number,
      permission: Permission,
      revisionId: string | undefined,
      caller: Caller,
    ): Promise<{ statement: PolicyStatement; revisionId: string }> =>
      db.transaction(async (tx) => {
        const { version } = await lock(tx, name, number, caller)
        checkRevision(revisionId, version.policyRevisionId, "GetLayerPolicy")
        const { statement, statements } = addStatement(version.statements, permission, layerArn(caller, name, number))
        const changed = { statements, policyRevisionId: randomUUID() }
        await tx.update(functionLayerVersions).set(changed).where(eq(functionLayerVersions.id, version.id))
        await record(tx, name, number, "permission-added", caller)
        return { statement, revisionId: changed.policyRevisionId }
      }),

    removePermission: (
      name: string,
      number: number,
      statementId: string,
      revisionId: string | undefined,
      caller: Caller,
    ): Promise<void> =>
      db.transaction(async (tx) => {
        const { version } = await lock(tx, name, number, caller)
        if (version.statements.length === 0) throw noSuchResource()
        checkRevision(revisionId, version.policyRevisionId, "GetLayerPolicy")
        const statements = removeStatement(version.statements, statementId)
        const changed = { statements, policyRevisionId: statements.length === 0 ? null : randomUUID() }
        await tx.update(functionLayerVersions).set(changed).where(eq(functionLayerVersions.id, version.id))
        await record(tx, name, number, "permission-removed", caller)
      }),

    async policy(name: string, number: number, scope: Scope): Promise<{ policy: string; revisionId: string | null }> {
      const { version } = await find(db, name, number, scope)
      if (version.statements.length === 0) throw noSuchResource()
      return { policy: toPolicyText(version.statements), revisionId: version.policyRevisionId }
    },
  }

  /** Whoever changes a version's permissions does so alone. */
  async function lock(tx: Database, name: string, number: number, scope: Scope) {
    const { version } = await find(tx, name, number, scope)
    await tx.select().from(functionLayerVersions).where(eq(functionLayerVersions.id, version.id)).for("update")
    return find(tx, name, number, scope)
  }
}
