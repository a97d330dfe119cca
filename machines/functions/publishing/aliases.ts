/** Aliases: names for one version, or for two that share the requests. */
import { randomUUID } from "node:crypto"
import { and, eq, or, sql } from "drizzle-orm"
import { ServiceError } from "../../../src/errors.ts"
import { functionAliases } from "../../../src/db/functions.ts"
import { recordChange } from "../../history.ts"
import type { Caller, Page, PageRequest, Scope } from "../../resources.ts"
import type { Database } from "../../vm-row.ts"
import type { FunctionsGround } from "../ground.ts"
import { functionArn, parseVersion, versionName } from "../names.ts"
import { checkProvisionedAlias, findProvision } from "../provisioned/provision-rows.ts"
import { removeQualified } from "./qualified.ts"
import { checkRevision, conflict, invalid, notFound } from "../refusals.ts"
import { findAlias, findFunction, findNumber, lockFunction, type AliasRow } from "../rows.ts"

/** The version that takes a share of the requests, and its share. */
export interface Routing {
  readonly version: string
  readonly weight: number
}

export interface AliasRequest {
  readonly version: string | undefined
  readonly description: string | undefined
  /** `undefined`: as it is; `null`: all requests go to one version. */
  readonly routing: Routing | null | undefined
  readonly revisionId: string | undefined
}

export interface Alias {
  readonly functionName: string
  readonly name: string
  readonly version: string
  readonly routing: Routing | null
  readonly description: string
  readonly revisionId: string
}

const toAlias = (functionName: string, row: AliasRow): Alias => ({
  functionName,
  name: row.name,
  version: versionName(row.number),
  routing: row.otherNumber === null ? null : { version: versionName(row.otherNumber), weight: row.otherWeight ?? 0 },
  description: row.description,
  revisionId: row.revisionId,
})

/** The verbs about aliases. */
export const createAliasVerbs = ({ db, changes, limits }: Pick<FunctionsGround, "db" | "changes" | "limits">) => {
  /** A version's number, of one that is there. */
  const numberOf = async (tx: Database, functionId: string, functionName: string, version: string, scope: Scope) => {
    const number = parseVersion(version)
    if (number === undefined || (await findNumber(tx, functionId, number)) === undefined)
      throw notFound(`Function not found: ${functionArn(scope, functionName, version)}`)
    return number
  }

  const routingOf = async (
    tx: Database,
    functionId: string,
    functionName: string,
    number: number,
    routing: Routing | null,
    scope: Scope,
  ) => {
    if (routing === null) return { otherNumber: null, otherWeight: null }
    if (number === 0) throw invalid("$LATEST is not supported for an alias pointing to more than 1 version")
    const otherNumber = await numberOf(tx, functionId, functionName, routing.version, scope)
    if (otherNumber === number)
      throw invalid(
        `Invalid function version ${number}. Function version ${number} is already included in routing configuration.`,
      )
    return { otherNumber, otherWeight: routing.weight }
  }

  const record = (tx: Database, functionName: string, name: string, verb: string, caller: Caller) =>
    recordChange(tx, {
      scope: caller,
      resource: functionArn(caller, functionName, name),
      type: `function.alias-${verb}`,
      cause: "api",
      by: caller,
    })

  return {
    create: (
      functionName: string,
      name: string,
      asked: AliasRequest & { version: string },
      caller: Caller,
    ): Promise<Alias> =>
      db.transaction(async (tx) => {
        const owner = await lockFunction(tx, { name: functionName, qualifier: undefined }, caller)
        if ((await findAlias(tx, owner.id, name)) !== undefined)
          throw conflict(`Alias already exists: ${functionArn(caller, functionName, name)}`)
        const number = await numberOf(tx, owner.id, functionName, asked.version, caller)
        const routing = await routingOf(tx, owner.id, functionName, number, asked.routing ?? null, caller)
        const [{ count } = { count: 0 }] = await tx
          .select({ count: sql<number>`count(*)::int` })
          .from(functionAliases)
          .where(eq(functionAliases.functionId, owner.id))
        if (count >= limits.aliases)
          throw new ServiceError(
            "AliasLimitExceededException",
            400,
            `A function may have ${limits.aliases} aliases; delete one of ${functionName}'s first.`,
          )
        const [row] = await tx
          .insert(functionAliases)
          .values({
            id: randomUUID(),
            functionId: owner.id,
            name,
            number,
            ...routing,
            description: asked.description ?? "",
            revisionId: randomUUID(),
          })
          .returning()
        if (row === undefined) throw new Error("The alias's row was not returned")
        await record(tx, functionName, name, "created", caller)
        return toAlias(functionName, row)
      }),

    async get(functionName: string, name: string, scope: Scope): Promise<Alias> {
      const owner = await findFunction(db, { name: functionName, qualifier: undefined }, scope)
      const row = await findAlias(db, owner.id, name)
      if (row === undefined) throw notFound(`Cannot find alias arn: ${functionArn(scope, functionName, name)}`)
      return toAlias(functionName, row)
    },

    async update(functionName: string, name: string, asked: AliasRequest, caller: Caller): Promise<Alias> {
      const { functionId, alias } = await db.transaction(async (tx) => {
        const owner = await lockFunction(tx, { name: functionName, qualifier: undefined }, caller)
        const found = await findAlias(tx, owner.id, name)
        if (found === undefined) throw notFound(`Alias not found: ${functionArn(caller, functionName, name)}`)
        checkRevision(asked.revisionId, found.revisionId)
        const number =
          asked.version === undefined ? found.number : await numberOf(tx, owner.id, functionName, asked.version, caller)
        const asRouted = asked.routing === undefined ? toAlias(functionName, found).routing : asked.routing
        const routing = await routingOf(tx, owner.id, functionName, number, asRouted, caller)
        if ((await findProvision(tx, owner.id, name)) !== undefined)
          await checkProvisionedAlias(tx, owner.id, [number, routing.otherNumber])
        const [row] = await tx
          .update(functionAliases)
          .set({
            number,
            ...routing,
            ...(asked.description === undefined ? {} : { description: asked.description }),
            revisionId: randomUUID(),
          })
          .where(eq(functionAliases.id, found.id))
          .returning()
        if (row === undefined) throw new Error("The alias's row was not returned")
        await record(tx, functionName, name, "updated", caller)
        return { functionId: owner.id, alias: toAlias(functionName, row) }
      })
      changes.tell(functionId)
      return alias
    },

    /** With all that is its own; none of this name is as good as one that was removed. */
    async remove(functionName: string, name: string, caller: Caller): Promise<void> {
      const functionId = await db.transaction(async (tx) => {
        const owner = await lockFunction(tx, { name: functionName, qualifier: undefined }, caller)
        const gone = await tx
          .delete(functionAliases)
          .where(and(eq(functionAliases.functionId, owner.id), eq(functionAliases.name, name)))
          .returning({ id: functionAliases.id })
        if (gone.length === 0) return owner.id
        await removeQualified(tx, owner.id, name)
        await record(tx, functionName, name, "deleted", caller)
        return owner.id
      })
      changes.tell(functionId)
    },

    /** By name; those of one version alone when it is said. */
    async list(
      functionName: string,
      version: string | undefined,
      page: PageRequest,
      scope: Scope,
    ): Promise<Page<Alias>> {
      const owner = await findFunction(db, { name: functionName, qualifier: undefined }, scope)
      const number = version === undefined ? undefined : (parseVersion(version) ?? -1)
      const rows = await db
        .select()
        .from(functionAliases)
        .where(
          and(
            eq(functionAliases.functionId, owner.id),
            number === undefined
              ? undefined
              : or(eq(functionAliases.number, number), eq(functionAliases.otherNumber, number)),
            page.after === undefined ? undefined : sql`${functionAliases.name} collate "C" > ${page.after}`,
          ),
        )
        .orderBy(sql`${functionAliases.name} collate "C"`)
        .limit(page.limit + 1)
      return {
        items: rows.slice(0, page.limit).map((row) => toAlias(functionName, row)),
        next: rows.length > page.limit ? rows[page.limit - 1]?.name : undefined,
      }
    },
  }
}
