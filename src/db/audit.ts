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

/** What is told of every so many rows, by the id of the last: one of all daemons writes it. */
const EVERY_ROWS = 1000
const watchers = new Set<() => void>()

/** Calls back when this process has written the last of every thousand rows, in a transaction that may go on. What is returned ends that. */
export const onThousandRows = (watcher: () => void): (() => void) => {
  watchers.add(watcher)
  return () => void watchers.delete(watcher)
}

/** Writes one row of the audit log, in the transaction of the change itself where there is one. */
export const writeAudit = async (
  db: Pick<PostgresJsDatabase, "insert">,
  { scope, resource, type, cause, by, details = {} }: AuditEntry,
): Promise<void> => {
  const [row] = await db
    .insert(audit)
    .values({
      account: scope.account,
      region: scope.region,
      resource,
      action: type,
      cause,
      actor: by?.accessKeyId ?? null,
      requestId: by?.requestId ?? null,
      details,
    })
    .returning({ id: audit.id })
  if (row !== undefined && row.id % EVERY_ROWS === 0) for (const watcher of watchers) watcher()
}
