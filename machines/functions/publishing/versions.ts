/** Published versions: numbered, and never changed again. */
import { and, asc, eq, gt } from "drizzle-orm"
import { functionCodes, functionVersions } from "../../../src/db/functions.ts"
import { recordChange } from "../../history.ts"
import type { Caller, Page, PageRequest, Scope } from "../../resources.ts"
import type { FunctionsGround } from "../ground.ts"
import { functionArn } from "../names.ts"
import { publish } from "./publication.ts"
import { checkRevision, invalid } from "../refusals.ts"
import {
  describeVersion,
  describeVersions,
  findFunction,
  findNumber,
  functionNotFound,
  lockFunction,
  type FunctionVersion,
} from "../rows.ts"
import { checkSettled } from "../updates.ts"

export interface PublishRequest {
  readonly codeSha256: string | undefined
  readonly description: string | undefined
  readonly revisionId: string | undefined
}

/** The verbs about versions. */
export const createVersionVerbs = (ground: FunctionsGround) => {
  const { db, secrets, settling } = ground
  return {
    async publish(name: string, asked: PublishRequest, caller: Caller): Promise<FunctionVersion> {
      const { made, begun } = await db.transaction(async (tx) => {
        const owner = await lockFunction(tx, { name, qualifier: undefined }, caller)
        const latest = await findNumber(tx, owner.id, 0)
        if (latest === undefined) throw functionNotFound(caller, { name, qualifier: undefined })
        checkSettled(latest, name, caller)
        checkRevision(asked.revisionId, latest.revisionId)
        const [code] = await tx.select().from(functionCodes).where(eq(functionCodes.id, latest.codeId))
        if (asked.codeSha256 !== undefined && asked.codeSha256 !== code?.sha256)
          throw invalid(
            `CodeSHA256 (${asked.codeSha256}) is different from current CodeSHA256 in $LATEST (${code?.sha256}). Please try again with the CodeSHA256 in $LATEST.`,
          )
        const { version, isNew } = await publish(tx, ground, owner, latest, asked.description, caller)
        if (isNew)
          await recordChange(tx, {
            scope: caller,
            resource: functionArn(caller, name, String(version.number)),
            type: "function.version-published",
            cause: "api",
            by: caller,
          })
        const isBegun = isNew && version.state === "Pending"
        return { made: await describeVersion(tx, secrets, name, version), begun: isBegun ? [version.id] : [] }
      })
      for (const id of begun) settling.begin(id)
      return made
    },

    /** `$LATEST` first, then by number. */
    async list(name: string, page: PageRequest, scope: Scope): Promise<Page<FunctionVersion>> {
      const owner = await findFunction(db, { name, qualifier: undefined }, scope)
      const rows = await db
        .select()
        .from(functionVersions)
        .where(
          and(
            eq(functionVersions.functionId, owner.id),
            page.after === undefined ? undefined : gt(functionVersions.number, Number(page.after)),
          ),
        )
        .orderBy(asc(functionVersions.number))
        .limit(page.limit + 1)
      const shown = rows.slice(0, page.limit)
      const last = shown.at(-1)
      return {
        items: await describeVersions(
          db,
          secrets,
          shown.map((version) => ({ name, version })),
        ),
        next: rows.length > page.limit && last !== undefined ? String(last.number) : undefined,
      }
    },
  }
}
