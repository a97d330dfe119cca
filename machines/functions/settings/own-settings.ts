/** What is a function's own and no version's: its tags, its share of the account's concurrency, what stops its loops. */
import { and, eq, ne, sql } from "drizzle-orm"
import { ServiceError } from "../../../src/errors.ts"
import { functionProvisions, functionRuntimeConfigs, functions } from "../../../src/db/functions.ts"
import { recordChange } from "../../history.ts"
import type { Caller, Scope } from "../../resources.ts"
import type { Database } from "../../vm-row.ts"
import type { FunctionsGround } from "../ground.ts"
import { functionArn, LATEST, type FunctionReference } from "../names.ts"
import { invalid } from "../refusals.ts"
import { codeUse } from "../room.ts"
import { findFunction, findVersion, lockFunction, type FunctionRow } from "../rows.ts"
import { lockConcurrency } from "./concurrency-lock.ts"

type RecursiveLoop = FunctionRow["recursiveLoop"]
type RuntimeConfig = Pick<typeof functionRuntimeConfigs.$inferSelect, "updateOn" | "runtimeVersionArn">

export interface AccountUse {
  readonly codeBytes: number
  readonly functions: number
  readonly reservedExecutions: number
}

/** The verbs about what functions have as wholes, and about the account. */
export const createOwnSettingVerbs = ({ db, changes, limits }: Pick<FunctionsGround, "db" | "changes" | "limits">) => {
  const own = (name: string): FunctionReference => ({ name, qualifier: undefined })
  const change = async (
    tx: Database,
    name: string,
    values: Partial<Pick<FunctionRow, "tags" | "reservedConcurrency" | "recursiveLoop">>,
    type: string,
    caller: Caller,
  ) => {
    const { id } = await lockFunction(tx, own(name), caller)
    await tx.update(functions).set(values).where(eq(functions.id, id))
    await recordChange(tx, { scope: caller, resource: functionArn(caller, name), type, cause: "api", by: caller })
    return id
  }
  const provisionedOf = async (tx: Database, functionId: string): Promise<number> => {
    const [row] = await tx
      .select({ sum: sql<number>`coalesce(sum(${functionProvisions.requested}), 0)::int` })
      .from(functionProvisions)
      .where(eq(functionProvisions.functionId, functionId))
    return row?.sum ?? 0
  }
  const reserved = sql<number>`coalesce(sum(${functions.reservedConcurrency}), 0)::int`

  return {
    tags: async (name: string, scope: Scope): Promise<Record<string, string>> =>
      (await findFunction(db, own(name), scope)).tags,

    changeTags: (
      name: string,
      changed: (tags: Record<string, string>) => Record<string, string>,
      caller: Caller,
    ): Promise<void> =>
      db.transaction(async (tx) => {
        const { tags } = await lockFunction(tx, own(name), caller)
        await change(tx, name, { tags: changed(tags) }, "function.tagged", caller)
      }),

    concurrency: async (name: string, scope: Scope): Promise<number | null> =>
      (await findFunction(db, own(name), scope)).reservedConcurrency,

    /** `null` gives the share back. */
    async reserve(name: string, executions: number | null, caller: Caller): Promise<void> {
      const functionId = await db.transaction(async (tx) => {
        await lockConcurrency(tx, caller)
        // AWS names what it looked for: the version that would run.
        const { id } = await findFunction(tx, executions === null ? own(name) : { name, qualifier: LATEST }, caller)
        const provisioned = await provisionedOf(tx, id)
        if (executions !== null && executions < provisioned)
          throw invalid(
            `ReservedConcurrentExecutions ${executions} should not be lower than function's total provisioned concurrency [${provisioned}].`,
          )
        const [others] = await tx
          .select({ reserved })
          .from(functions)
          .where(and(eq(functions.account, caller.account), ne(functions.id, id)))
        const left = limits.concurrentExecutions - (others?.reserved ?? 0) - (executions ?? 0)
        if (executions !== null && left < limits.unreservedExecutions)
          throw new ServiceError(
            "InvalidParameterValueException",
            400,
            `Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [${limits.unreservedExecutions}].`,
            { Type: undefined },
          )
        return change(tx, name, { reservedConcurrency: executions }, "function.concurrency-changed", caller)
      })
      changes.tell(functionId)
    },

    recursion: async (name: string, scope: Scope): Promise<RecursiveLoop> =>
      (await findFunction(db, own(name), scope)).recursiveLoop,

    async setRecursion(name: string, recursiveLoop: RecursiveLoop, caller: Caller): Promise<void> {
      await db.transaction((tx) => change(tx, name, { recursiveLoop }, "function.recursion-changed", caller))
    },

    async runtimeConfig(asked: FunctionReference, scope: Scope): Promise<RuntimeConfig & { runtime: string }> {
      const { owner, version } = await findVersion(db, asked, scope)
      const { runtime } = version.settings
      const [row] = await db
        .select()
        .from(functionRuntimeConfigs)
        .where(
          and(
            eq(functionRuntimeConfigs.functionId, owner.id),
            eq(functionRuntimeConfigs.qualifier, asked.qualifier ?? LATEST),
          ),
        )
      return { updateOn: row?.updateOn ?? "Auto", runtimeVersionArn: row?.runtimeVersionArn ?? null, runtime }
    },

    setRuntimeConfig: (asked: FunctionReference, config: RuntimeConfig, caller: Caller): Promise<void> =>
      db.transaction(async (tx) => {
        await lockFunction(tx, asked, caller)
        const { owner } = await findVersion(tx, asked, caller)
        await tx
          .insert(functionRuntimeConfigs)
          .values({ functionId: owner.id, qualifier: asked.qualifier ?? LATEST, ...config })
          .onConflictDoUpdate({
            target: [functionRuntimeConfigs.functionId, functionRuntimeConfigs.qualifier],
            set: config,
          })
        await recordChange(tx, {
          scope: caller,
          resource: functionArn(caller, asked.name, asked.qualifier),
          type: "function.runtime-config-changed",
          cause: "api",
          by: caller,
          details: config,
        })
      }),

    /** In all regions, as its limits are. */
    async account(scope: Scope): Promise<AccountUse> {
      const { bytes } = await codeUse(db, scope)
      const [counted] = await db
        .select({ functions: sql<number>`count(*)::int`, reserved })
        .from(functions)
        .where(eq(functions.account, scope.account))
      return {
        codeBytes: bytes,
        functions: counted?.functions ?? 0,
        reservedExecutions: counted?.reserved ?? 0,
      }
    },
    limits,
  }
}
