/** Asking for environments that are kept initialised, for a version or an alias. */
import { and, asc, eq, gt, isNull, ne, sql } from "drizzle-orm"
import { ServiceError } from "../../../src/errors.ts"
import { functionAliases, functionProvisions, functions } from "../../../src/db/functions.ts"
import { recordChange } from "../../history.ts"
import type { Caller, Page, PageRequest, Scope } from "../../resources.ts"
import type { Database } from "../../vm-row.ts"
import type { FunctionsGround } from "../ground.ts"
import { functionArn, LATEST, parseVersion, type FunctionReference } from "../names.ts"
import { conflict, invalid } from "../refusals.ts"
import { findFunction, findVersion, lockFunction, type FunctionRow } from "../rows.ts"
import { lockConcurrency } from "../settings/concurrency-lock.ts"
import type { Keeping } from "./keeping.ts"
import { checkProvisionedAlias, findProvision, unpublished, type ProvisionRow } from "./provision-rows.ts"

export interface Provision {
  readonly qualifier: string
  readonly requested: number
  /** Environments that are initialised, or are being started. */
  readonly allocated: number
  /** Those that are initialised. */
  readonly available: number
  readonly status: "IN_PROGRESS" | "READY" | "FAILED"
  readonly reason: string | undefined
  readonly modifiedAt: Date
}

export interface Provisions {
  put(asked: FunctionReference, requested: number, caller: Caller): Promise<Provision>
  get(asked: FunctionReference, scope: Scope): Promise<Provision>
  remove(asked: FunctionReference, caller: Caller): Promise<void>
  list(name: string, page: PageRequest, scope: Scope): Promise<Page<Provision>>
}

const notProvisioned = () =>
  new ServiceError(
    "ProvisionedConcurrencyConfigNotFoundException",
    404,
    "No Provisioned Concurrency Config found for this function",
  )

export const createProvisions = (
  { db, changes, limits }: Pick<FunctionsGround, "db" | "changes" | "limits">,
  keeping: Pick<Keeping, "state" | "forgive">,
): Provisions => {
  const describe = async ({ functionId, qualifier, requested, modifiedAt }: ProvisionRow): Promise<Provision> => {
    const { allocated, available, hasFailed } = await keeping.state(functionId, qualifier)
    const status = hasFailed ? "FAILED" : available >= requested ? "READY" : "IN_PROGRESS"
    const reason = hasFailed ? "FUNCTION_ERROR_INIT_FAILURE" : undefined
    return { qualifier, requested, allocated, available, status, reason, modifiedAt }
  }

  const qualifierOf = ({ qualifier }: FunctionReference): string => {
    if (qualifier !== undefined && qualifier !== LATEST) return qualifier
    throw unpublished()
  }

  /** An alias and the version it points to cannot both have some: the version's number would be configured twice. */
  const checkOther = async (tx: Database, owner: FunctionRow, qualifier: string) => {
    const number = parseVersion(qualifier)
    const aliases = await tx.select().from(functionAliases).where(eq(functionAliases.functionId, owner.id))
    const isOf = (alias: (typeof aliases)[number], version: number) =>
      alias.number === version || alias.otherNumber === version
    if (number === undefined) {
      const alias = aliases.find(({ name }) => name === qualifier)
      return checkProvisionedAlias(tx, owner.id, [alias?.number, alias?.otherNumber])
    }
    for (const alias of aliases)
      if (isOf(alias, number) && (await findProvision(tx, owner.id, alias.name)))
        throw conflict("Version is pointed to by a Provisioned Concurrency alias")
  }

  const checkRoom = async (tx: Database, owner: FunctionRow, qualifier: string, requested: number, scope: Scope) => {
    const sum = sql<number>`coalesce(sum(${functionProvisions.requested}), 0)::int`
    const [own] = await tx
      .select({ sum })
      .from(functionProvisions)
      .where(and(eq(functionProvisions.functionId, owner.id), ne(functionProvisions.qualifier, qualifier)))
    const total = (own?.sum ?? 0) + requested
    if (owner.reservedConcurrency !== null) {
      if (total > owner.reservedConcurrency)
        throw invalid(
          "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function",
        )
      return
    }
    const ofAccount = eq(functions.account, scope.account)
    const [reserved] = await tx
      .select({ sum: sql<number>`coalesce(sum(${functions.reservedConcurrency}), 0)::int` })
      .from(functions)
      .where(ofAccount)
    const [others] = await tx
      .select({ sum })
      .from(functionProvisions)
      .innerJoin(functions, eq(functions.id, functionProvisions.functionId))
      .where(and(ofAccount, isNull(functions.reservedConcurrency), ne(functions.id, owner.id)))
    const left = limits.concurrentExecutions - (reserved?.sum ?? 0) - (others?.sum ?? 0) - total
    if (left < limits.unreservedExecutions)
      throw invalid(
        `Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [${limits.unreservedExecutions}].`,
      )
  }

  const record = (tx: Database, asked: FunctionReference, type: string, caller: Caller) =>
    recordChange(tx, {
      scope: caller,
      resource: functionArn(caller, asked.name, asked.qualifier),
      type,
      cause: "api",
      by: caller,
    })

  return {
    async put(asked, requested, caller) {
      const qualifier = qualifierOf(asked)
      const row = await db.transaction(async (tx) => {
        await lockConcurrency(tx, caller)
        const owner = await lockFunction(tx, asked, caller)
        await findVersion(tx, asked, caller)
        await checkOther(tx, owner, qualifier)
        await checkRoom(tx, owner, qualifier, requested, caller)
        const values = { requested, modifiedAt: new Date() }
        const [stored] = await tx
          .insert(functionProvisions)
          .values({ functionId: owner.id, qualifier, ...values })
          .onConflictDoUpdate({ target: [functionProvisions.functionId, functionProvisions.qualifier], set: values })
          .returning()
        if (stored === undefined) throw new Error("The provision's row was not returned")
        await record(tx, asked, "function.provisioned", caller)
        return stored
      })
      keeping.forgive(row.functionId)
      // As it was before anything is started for it.
      return describe(row).finally(() => changes.tell(row.functionId))
    },

    async get(asked, scope) {
      const qualifier = qualifierOf(asked)
      const { owner } = await findVersion(db, asked, scope)
      const row = await findProvision(db, owner.id, qualifier)
      if (row === undefined) throw notProvisioned()
      return describe(row)
    },

    async remove(asked, caller) {
      const qualifier = qualifierOf(asked)
      const functionId = await db.transaction(async (tx) => {
        const owner = await lockFunction(tx, asked, caller)
        await findVersion(tx, asked, caller)
        const gone = await tx
          .delete(functionProvisions)
          .where(and(eq(functionProvisions.functionId, owner.id), eq(functionProvisions.qualifier, qualifier)))
          .returning()
        if (gone.length > 0) await record(tx, asked, "function.provision-deleted", caller)
        return owner.id
      })
      changes.tell(functionId)
    },

    async list(name, page, scope) {
      const owner = await findFunction(db, { name, qualifier: undefined }, scope)
      const rows = await db
        .select()
        .from(functionProvisions)
        .where(
          and(
            eq(functionProvisions.functionId, owner.id),
            page.after === undefined ? undefined : gt(sql`${functionProvisions.qualifier} collate "C"`, page.after),
          ),
        )
        .orderBy(asc(sql`${functionProvisions.qualifier} collate "C"`))
        .limit(page.limit + 1)
      const shown = rows.slice(0, page.limit)
      return {
        items: await Promise.all(shown.map(describe)),
        next: rows.length > page.limit ? shown.at(-1)?.qualifier : undefined,
      }
    },
  }
}
