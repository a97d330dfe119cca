/**
 * Rows that nobody reads any more are removed: those of VMs that steps, bases, disks and snapshots were made in, of MicroVMs that were
 * over long ago, events that no webhook has fetched, and the audit log's oldest. Without this they would stay for good.
 */
import { and, asc, eq, inArray, lt, notExists, or, sql } from "drizzle-orm"
import { onThousandRows } from "../src/db/audit.ts"
import { environments } from "../src/db/environments.ts"
import { audit, clientTokens, imageBuilds, microvms, outbox, vms } from "../src/db/schema.ts"
import type { Log } from "../src/log.ts"
import { LISTED_AFTER_END_MS } from "./microvms/microvms.ts"
import type { Database } from "./vm-row.ts"

const EVERY_MS = 3600 * 1000
/** Short transactions: others wait for none of them. */
const AT_ONCE = 1000

/** How much is remembered of what is over. */
export interface Remembered {
  readonly auditDays: number
  readonly maxAuditRows: number
  readonly microvmDays: number
  readonly maxMicrovms: number
}

export interface OldRowsOptions {
  readonly db: Database
  readonly hostId: string
  readonly remembered: Remembered
  readonly log: Log
  /** What goes with the rows: files that only what is over stood on. */
  readonly removeFiles: () => Promise<void>
}

/** Looks at once, every hour, and after every thousand rows of the audit log, until it is disposed. */
export const openOldRows = ({ log, removeFiles, ...options }: OldRowsOptions): AsyncDisposable => {
  const closing = new AbortController()
  let removing = Promise.resolve()
  let isDue = false
  const remove = () => {
    // What is about to look sees what was written since.
    if (isDue) return
    isDue = true
    removing = removing
      .then(() => {
        isDue = false
        return removeOldRows(options, closing.signal)
      })
      .then(removeFiles)
      .catch((error: unknown) => log.warn({ err: error }, "Old rows could not be removed"))
  }
  const timer = setInterval(remove, EVERY_MS).unref()
  const unwatch = onThousandRows(remove)
  remove()
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      unwatch()
      closing.abort()
      await removing
    },
  }
}

/** Removes all that is old now, some at a time. */
export const removeOldRows = async (
  { db, hostId, remembered }: Pick<OldRowsOptions, "db" | "hostId" | "remembered">,
  closing: AbortSignal,
): Promise<void> => {
  const kinds = [
    () => removeVms(db, hostId),
    () => removeMicrovms(db, hostId, remembered),
    () => removeEvents(db, remembered),
    () => removeAudit(db, remembered),
  ]
  for (const removeSome of kinds) while (!closing.aborted && (await removeSome()) === AT_ONCE);
}

/** VMs of this host that were over a day ago. A build that is shown names its VM, so that one stays. */
const removeVms = async (db: Database, hostId: string): Promise<number> => {
  const one = { one: sql`1` }
  const old = db
    .select({ id: vms.id })
    .from(vms)
    .where(
      and(
        eq(vms.hostId, hostId),
        eq(vms.kind, "build"),
        lt(vms.endedAt, sql`now() - interval '1 day'`),
        notExists(db.select(one).from(imageBuilds).where(eq(imageBuilds.vmId, vms.id))),
        notExists(db.select(one).from(environments).where(eq(environments.vmId, vms.id))),
      ),
    )
    .limit(AT_ONCE)
  return (await db.delete(vms).where(inArray(vms.id, old)).returning({ id: vms.id })).length
}

/** Events of a week ago, and the oldest of more than the audit log has. Only the oldest are looked at: nothing says where those of a week begin. */
const removeEvents = async (db: Database, { maxAuditRows }: Remembered): Promise<number> => {
  const oldest = db.select({ id: outbox.id }).from(outbox).orderBy(asc(outbox.id)).limit(AT_ONCE)
  const isTooMany = sql`${outbox.id} <= (select max(${outbox.id}) from ${outbox}) - ${maxAuditRows}::bigint`
  const gone = await db
    .delete(outbox)
    .where(and(inArray(outbox.id, oldest), or(lt(outbox.at, sql`now() - interval '7 days'`), isTooMany)))
    .returning({ id: outbox.id })
  return gone.length
}

/**
 * MicroVMs of this host that have been over for too long, or are too many and not listed any more; with their VMs, and with the client
 * tokens that they were made by, which make others from then on. One whose VM's process was not seen to end stays: a start looks for that.
 */
const removeMicrovms = async (
  db: Database,
  hostId: string,
  { microvmDays, maxMicrovms }: Remembered,
): Promise<number> => {
  const over = sql`${microvms.hostId} = ${hostId} and ${microvms.state} = 'TERMINATED'`
  const firstTooMany = sql`(select ${microvms.terminatedAt} from ${microvms} where ${over} order by ${microvms.terminatedAt} desc offset ${maxMicrovms} limit 1)`
  const before = sql`least(
    now() - make_interval(secs => ${LISTED_AFTER_END_MS / 1000}),
    greatest(now() - make_interval(days => ${microvmDays}), ${firstTooMany} + interval '1 microsecond'))`
  const [row] = await db.execute<{ removed: number }>(sql`
    with old as (
      select ${microvms.id}, ${microvms.vmId} from ${microvms} join ${vms} on ${vms.id} = ${microvms.vmId}
      where ${over} and ${microvms.terminatedAt} < ${before} and ${vms.endedAt} is not null
      limit ${AT_ONCE}
    ), tokens as (
      delete from ${clientTokens} where ${clientTokens.resourceId} in (select id from old)
    ), gone as (
      delete from ${microvms} where ${microvms.id} in (select id from old) returning ${microvms.vmId}
    ), their_vms as (
      delete from ${vms} where ${vms.id} in (select vm_id from gone)
    )
    select count(*)::int as removed from gone`)
  return row?.removed ?? 0
}

/** Its numbers only grow, so that the oldest are those with the lowest, and the difference of two is about how many are between them. */
const removeAudit = async (db: Database, { auditDays, maxAuditRows }: Remembered): Promise<number> => {
  const oldest = db.select({ id: audit.id }).from(audit).orderBy(asc(audit.id)).limit(AT_ONCE)
  const isOld = sql`${audit.at} < now() - make_interval(days => ${auditDays})`
  const isTooMany = sql`${audit.id} <= (select max(${audit.id}) from ${audit}) - ${maxAuditRows}::bigint`
  const gone = await db
    .delete(audit)
    .where(and(inArray(audit.id, oldest), or(isOld, isTooMany)))
    .returning({ id: audit.id })
  return gone.length
}
