import type { PostgresJsDatabase } from "drizzle-orm/postgres-js"
import { audit } from "./schema.ts"
import type { Cause } from "./values.ts"

/** Who asked, when somebody did. */
export interface Asker {
  readonly accessKeyId: string
  readonly requestId: string
}

export interface AuditEntry {
  readonly scope: { readonly account: string; readonly region: string }
  /** The resource's ARN. */
  readonly resource: string
  /** What happened, as `<thing>.<verb in the past or state>`: `microvm.running`. */
  readonly type: string
  readonly cause: Cause
  readonly by?: Asker | undefined
  /** No secrets: whoever reads the audit log has none of them. */
  readonly details?: Record<string, unknown>
}

/** Writes one row of the audit log, in the transaction of the change itself where there is one. */
export const writeAudit = async (
  db: Pick<PostgresJsDatabase, "insert">,
  { scope, resource, type, cause, by, details = {} }: AuditEntry,
): Promise<void> => {
  await db.insert(audit).values({
    account: scope.account,
    region: scope.region,
    resource,
    action: type,
    cause,
    actor: by?.accessKeyId ?? null,
    requestId: by?.requestId ?? null,
    details,
  })
}
