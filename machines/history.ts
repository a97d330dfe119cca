import { writeAudit, type AuditEntry } from "../src/db/audit.ts"
import { outbox } from "../src/db/schema.ts"
import type { Database } from "./vm-row.ts"

/** Writes what happened to the audit log and to the outbox, in the transaction of the change itself. */
export const recordChange = async (db: Database, change: AuditEntry): Promise<void> => {
  const { scope, resource, type, cause, details = {} } = change
  await Promise.all([
    writeAudit(db, change),
    db.insert(outbox).values({ account: scope.account, resource, type, payload: { cause, ...details } }),
  ])
}
