/** Who else may use a function, or one version or alias of it. */
import { randomUUID } from "node:crypto"
import { and, eq } from "drizzle-orm"
import type { PolicyStatement } from "../../../src/db/function-values.ts"
import { functionPolicies } from "../../../src/db/functions.ts"
import { recordChange } from "../../history.ts"
import type { Caller, Scope } from "../../resources.ts"
import type { Database } from "../../vm-row.ts"
import type { FunctionsGround } from "../ground.ts"
import { functionArn, LATEST, type FunctionReference } from "../names.ts"
import { addStatement, removeStatement, toPolicyText, type Permission } from "./policy.ts"
import { checkRevision, invalid, noSuchResource } from "../refusals.ts"
import { findVersion, lockFunction } from "../rows.ts"

/** The verbs about resource policies of functions. */
export const createPermissionVerbs = ({ db, changes }: Pick<FunctionsGround, "db" | "changes">) => {
  const at = (functionId: string, qualifier: string | undefined) =>
    and(eq(functionPolicies.functionId, functionId), eq(functionPolicies.qualifier, qualifier ?? ""))

  const ownerOf = async (tx: Database, asked: FunctionReference, scope: Scope) => {
    if (asked.qualifier === LATEST) throw invalid("We currently do not support adding policies for $LATEST.")
    await lockFunction(tx, asked, scope)
    return (await findVersion(tx, asked, scope)).owner
  }

  const record = (tx: Database, asked: FunctionReference, statement: string, verb: string, caller: Caller) =>
    recordChange(tx, {
      scope: caller,
      resource: functionArn(caller, asked.name, asked.qualifier),
      type: `function.permission-${verb}`,
      cause: "api",
      by: caller,
      details: { statement },
    })

  return {
    async add(
      asked: FunctionReference,
      permission: Permission,
      revisionId: string | undefined,
      caller: Caller,
    ): Promise<PolicyStatement> {
      const added = await db.transaction(async (tx) => {
        const owner = await ownerOf(tx, asked, caller)
        const [row] = await tx.select().from(functionPolicies).where(at(owner.id, asked.qualifier))
        checkRevision(revisionId, row?.revisionId ?? null, "GetPolicy")
        const resource = functionArn(caller, asked.name, asked.qualifier)
        const { statement, statements } = addStatement(row?.statements ?? [], permission, resource)
        const changed = { statements, revisionId: randomUUID() }
        await tx
          .insert(functionPolicies)
          .values({ functionId: owner.id, qualifier: asked.qualifier ?? "", ...changed })
          .onConflictDoUpdate({ target: [functionPolicies.functionId, functionPolicies.qualifier], set: changed })
        await record(tx, asked, permission.statementId, "added", caller)
        return { functionId: owner.id, statement }
      })
      changes.tell(added.functionId)
      return added.statement
    },

    async remove(
      asked: FunctionReference,
      statementId: string,
      revisionId: string | undefined,
      caller: Caller,
    ): Promise<void> {
      const functionId = await db.transaction(async (tx) => {
        const owner = await ownerOf(tx, asked, caller)
        const [row] = await tx.select().from(functionPolicies).where(at(owner.id, asked.qualifier))
        if (row === undefined) throw noSuchResource()
        checkRevision(revisionId, row.revisionId, "GetPolicy")
        const statements = removeStatement(row.statements, statementId)
        if (statements.length === 0) await tx.delete(functionPolicies).where(at(owner.id, asked.qualifier))
        else
          await tx
            .update(functionPolicies)
            .set({ statements, revisionId: randomUUID() })
            .where(at(owner.id, asked.qualifier))
        await record(tx, asked, statementId, "removed", caller)
        return owner.id
      })
      changes.tell(functionId)
    },

    async get(asked: FunctionReference, scope: Scope): Promise<{ policy: string; revisionId: string }> {
      const { owner } = await findVersion(db, asked, scope)
      const [row] = await db.select().from(functionPolicies).where(at(owner.id, asked.qualifier))
      if (row === undefined) throw noSuchResource()
      return { policy: toPolicyText(row.statements), revisionId: row.revisionId }
    },
  }
}
