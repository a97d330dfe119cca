import { audit, outbox } from "../src/db/schema.ts"
import type { Cause } from "../src/db/values.ts"
import type { Scope } from "./resources.ts"
import type { Database } from "./vm-row.ts"

export interface Change {
  readonly scope: Scope
  /** The resource's ARN. */
  readonly resource: string
  /** What happened, as `<thing>.<verb in the past or state>`: `microvm.running`. */
  readonly type: string
  readonly cause: Cause
  readonly by?: { readonly accessKeyId: string; readonly requestId: string } | undefined
  readonly details?: Record<string, unknown>
}

/** Writes what happened to the audit log and to the outbox, in the transaction of the change itself. */
export const recordChange = async (
  db: Database,
  { scope, resource, type, cause, by, details = {} }: Change,
): Promise<void> => {
  await Promise.all([
    db.insert(audit).values({
      account: scope.account,
      region: scope.region,
      resource,
      action: type,
      cause,
      actor: by?.accessKeyId ?? null,
      requestId: by?.requestId ?? null,
      details,
    }),
    db.insert(outbox).values({ account: scope.account, resource, type, payload: { cause, ...details } }),
  ])
}
