/** How asynchronous invocations are retried, and where their results go. */
import { and, eq, sql } from "drizzle-orm"
import type { EventDestinations } from "../../../src/db/function-values.ts"
import { functionEventConfigs } from "../../../src/db/functions.ts"
import { recordChange } from "../../history.ts"
import type { Caller, Page, PageRequest, Scope } from "../../resources.ts"
import type { Database } from "../../vm-row.ts"
import type { FunctionsGround } from "../ground.ts"
import { functionArn, LATEST, type FunctionReference } from "../names.ts"
import { invalid, notFound } from "../refusals.ts"
import { findFunction, findVersion, lockFunction } from "../rows.ts"

export interface EventConfigRequest {
  readonly maximumRetries: number | undefined
  readonly maximumAgeSeconds: number | undefined
  /** An empty text takes a destination away. */
  readonly destinations: { readonly onSuccess: string | undefined; readonly onFailure: string | undefined } | undefined
}

export interface EventConfig {
  readonly functionName: string
  readonly qualifier: string
  readonly maximumRetries: number | null
  readonly maximumAgeSeconds: number | null
  readonly destinations: EventDestinations
  readonly modifiedAt: Date
}

const chosen = (asked: string | undefined, before: string | null) =>
  asked === undefined ? before : asked === "" ? null : asked

/** The verbs about event-invoke configurations. */
export const createEventConfigVerbs = ({ db, checkDestination }: Pick<FunctionsGround, "db" | "checkDestination">) => {
  const qualifierOf = (asked: FunctionReference) => asked.qualifier ?? LATEST
  const missing = (asked: FunctionReference, scope: Scope) =>
    notFound(`The function ${functionArn(scope, asked.name, qualifierOf(asked))} doesn't have an EventInvokeConfig`)
  const at = (functionId: string, asked: FunctionReference) =>
    and(eq(functionEventConfigs.functionId, functionId), eq(functionEventConfigs.qualifier, qualifierOf(asked)))
  const record = (tx: Database, asked: FunctionReference, verb: string, caller: Caller) =>
    recordChange(tx, {
      scope: caller,
      resource: functionArn(caller, asked.name, asked.qualifier),
      type: `function.event-config-${verb}`,
      cause: "api",
      by: caller,
    })
  const toConfig = (functionName: string, row: typeof functionEventConfigs.$inferSelect): EventConfig => ({
    ...row,
    functionName,
  })

  return {
    /** Replaces what was there, or merges with it, which then must be there. */
    put: (
      asked: FunctionReference,
      request: EventConfigRequest,
      merge: boolean,
      caller: Caller,
    ): Promise<EventConfig> =>
      db.transaction(async (tx) => {
        const { destinations, maximumRetries, maximumAgeSeconds } = request
        if (destinations === undefined && maximumRetries === undefined && maximumAgeSeconds === undefined)
          throw invalid("You must specify at least one of error handling or destination setting.")
        for (const use of ["onSuccess", "onFailure"] as const) {
          const arn = destinations?.[use]
          if (arn !== undefined && arn !== "") checkDestination(arn, use, caller)
        }
        await lockFunction(tx, asked, caller)
        const { owner } = await findVersion(tx, asked, caller)
        const [there] = await tx.select().from(functionEventConfigs).where(at(owner.id, asked))
        if (merge && there === undefined) throw missing(asked, caller)
        const before = merge ? there : undefined
        const changed = {
          maximumRetries: maximumRetries ?? before?.maximumRetries ?? null,
          maximumAgeSeconds: maximumAgeSeconds ?? before?.maximumAgeSeconds ?? null,
          destinations: {
            onSuccess: chosen(destinations?.onSuccess, before?.destinations.onSuccess ?? null),
            onFailure: chosen(destinations?.onFailure, before?.destinations.onFailure ?? null),
          },
          modifiedAt: new Date(),
        }
        const [row] = await tx
          .insert(functionEventConfigs)
          .values({ functionId: owner.id, qualifier: qualifierOf(asked), ...changed })
          .onConflictDoUpdate({
            target: [functionEventConfigs.functionId, functionEventConfigs.qualifier],
            set: changed,
          })
          .returning()
        if (row === undefined) throw new Error("The configuration's row was not returned")
        await record(tx, asked, "changed", caller)
        return toConfig(asked.name, row)
      }),

    async get(asked: FunctionReference, scope: Scope): Promise<EventConfig> {
      const { owner } = await findVersion(db, asked, scope)
      const [row] = await db.select().from(functionEventConfigs).where(at(owner.id, asked))
      if (row === undefined) throw missing(asked, scope)
      return toConfig(asked.name, row)
    },

    remove: (asked: FunctionReference, caller: Caller): Promise<void> =>
      db.transaction(async (tx) => {
        const { owner } = await findVersion(tx, asked, caller)
        const gone = await tx
          .delete(functionEventConfigs)
          .where(at(owner.id, asked))
          .returning({ qualifier: functionEventConfigs.qualifier })
        if (gone.length === 0) throw missing(asked, caller)
        await record(tx, asked, "deleted", caller)
      }),

    /** By qualifier. */
    async list(name: string, page: PageRequest, scope: Scope): Promise<Page<EventConfig>> {
      const owner = await findFunction(db, { name, qualifier: undefined }, scope)
      const { functionId, qualifier } = functionEventConfigs
      const rows = await db
        .select()
        .from(functionEventConfigs)
        .where(
          and(
            eq(functionId, owner.id),
            page.after === undefined ? undefined : sql`${qualifier} collate "C" > ${page.after}`,
          ),
        )
        .orderBy(sql`${qualifier} collate "C"`)
        .limit(page.limit + 1)
      return {
        items: rows.slice(0, page.limit).map((row) => toConfig(name, row)),
        next: rows.length > page.limit ? rows[page.limit - 1]?.qualifier : undefined,
      }
    },
  }
}
