/** The addresses that functions and aliases have of their own. */
import { randomBytes } from "node:crypto"
import { and, eq, sql } from "drizzle-orm"
import type { UrlCors } from "../../../src/db/function-values.ts"
import { functionUrls } from "../../../src/db/functions.ts"
import { ServiceError } from "../../../src/errors.ts"
import { recordChange } from "../../history.ts"
import type { Caller, Page, PageRequest, Scope } from "../../resources.ts"
import type { Database } from "../../vm-row.ts"
import type { FunctionsGround } from "../ground.ts"
import { functionArn, parseVersion, type FunctionReference } from "../names.ts"
import { conflict, invalid, noSuchResource, notFound } from "../refusals.ts"
import { findFunction, findVersion, lockFunction, type FunctionRow } from "../rows.ts"

type UrlRow = typeof functionUrls.$inferSelect

export interface UrlRequest {
  readonly authType: UrlRow["authType"] | undefined
  readonly invokeMode: UrlRow["invokeMode"] | undefined
  readonly cors: UrlCors | undefined
}

/** A function's address; `qualifier` is empty for the function itself. */
export type FunctionUrl = UrlRow & { readonly functionName: string }

/** 32 lower-case letters and digits: 160 random bits, so that nobody can guess one. */
const newUrlId = () => [...randomBytes(32)].map((byte) => (byte % 32).toString(32)).join("")

/** The verbs about function URLs. */
export const createUrlVerbs = ({ db, changes }: Pick<FunctionsGround, "db" | "changes">) => {
  const at = (functionId: string, asked: FunctionReference) =>
    and(eq(functionUrls.functionId, functionId), eq(functionUrls.qualifier, asked.qualifier ?? ""))

  const ownerOf = async (tx: Database, asked: FunctionReference, scope: Scope): Promise<FunctionRow> =>
    (await findVersion(tx, asked, scope)).owner

  const record = (tx: Database, asked: FunctionReference, verb: string, caller: Caller) =>
    recordChange(tx, {
      scope: caller,
      resource: functionArn(caller, asked.name, asked.qualifier),
      type: `function.url-${verb}`,
      cause: "api",
      by: caller,
    })

  return {
    async create(
      asked: FunctionReference,
      request: UrlRequest & { readonly authType: UrlRow["authType"] },
      caller: Caller,
    ): Promise<FunctionUrl> {
      if (asked.qualifier !== undefined && parseVersion(asked.qualifier) !== undefined)
        throw invalid("A function URL is for a function or an alias; versions and $LATEST cannot have one.")
      const created = await db.transaction(async (tx) => {
        await lockFunction(tx, asked, caller)
        const owner = await ownerOf(tx, asked, caller)
        const [row] = await tx
          .insert(functionUrls)
          .values({
            id: newUrlId(),
            functionId: owner.id,
            qualifier: asked.qualifier ?? "",
            authType: request.authType,
            invokeMode: request.invokeMode ?? "BUFFERED",
            cors: request.cors ?? null,
            createdAt: new Date(),
          })
          .onConflictDoNothing({ target: [functionUrls.functionId, functionUrls.qualifier] })
          .returning()
        if (row === undefined)
          throw conflict(
            `Failed to create function url config for [functionArn = ${functionArn(caller, asked.name, asked.qualifier)}]. Error message:  FunctionUrlConfig exists for this Lambda function`,
          )
        await record(tx, asked, "created", caller)
        return row
      })
      changes.tell(created.functionId)
      return { ...created, functionName: asked.name }
    },

    async get(asked: FunctionReference, scope: Scope): Promise<FunctionUrl> {
      const owner = await ownerOf(db, asked, scope)
      const [row] = await db.select().from(functionUrls).where(at(owner.id, asked))
      if (row === undefined) throw noSuchResource()
      return { ...row, functionName: asked.name }
    },

    async update(asked: FunctionReference, request: UrlRequest, caller: Caller): Promise<FunctionUrl> {
      const updated = await db.transaction(async (tx) => {
        await lockFunction(tx, asked, caller)
        const owner = await ownerOf(tx, asked, caller)
        const [row] = await tx
          .update(functionUrls)
          .set({
            ...(request.authType === undefined ? {} : { authType: request.authType }),
            ...(request.invokeMode === undefined ? {} : { invokeMode: request.invokeMode }),
            ...(request.cors === undefined ? {} : { cors: request.cors }),
            modifiedAt: new Date(),
          })
          .where(at(owner.id, asked))
          .returning()
        if (row === undefined) throw noSuchResource()
        await record(tx, asked, "updated", caller)
        return row
      })
      changes.tell(updated.functionId)
      return { ...updated, functionName: asked.name }
    },

    async remove(asked: FunctionReference, caller: Caller): Promise<void> {
      const functionId = await db.transaction(async (tx) => {
        const owner = await ownerOf(tx, asked, caller)
        const gone = await tx.delete(functionUrls).where(at(owner.id, asked)).returning({ id: functionUrls.id })
        if (gone.length === 0) throw noSuchResource()
        await record(tx, asked, "deleted", caller)
        return owner.id
      })
      changes.tell(functionId)
    },

    /** By qualifier, the function's own first. */
    async list(name: string, page: PageRequest, scope: Scope): Promise<Page<FunctionUrl>> {
      const owner = await findFunction(db, { name, qualifier: undefined }, scope).catch((error: unknown) => {
        throw error instanceof ServiceError ? notFound("Function does not exist") : error
      })
      const rows = await db
        .select()
        .from(functionUrls)
        .where(
          and(
            eq(functionUrls.functionId, owner.id),
            page.after === undefined ? undefined : sql`${functionUrls.qualifier} collate "C" > ${page.after.slice(1)}`,
          ),
        )
        .orderBy(sql`${functionUrls.qualifier} collate "C"`)
        .limit(page.limit + 1)
      const last = rows[page.limit - 1]
      return {
        items: rows.slice(0, page.limit).map((row) => ({ ...row, functionName: name })),
        // The function's own has an empty qualifier, and an empty text would be no cursor.
        next: rows.length > page.limit && last !== undefined ? `:${last.qualifier}` : undefined,
      }
    },
  }
}
