/**
 * Rows that nobody reads any more are removed: those of VMs that steps, bases, disks and snapshots were made in, and events that no
 * webhook has fetched. Without this they would stay for good.
 */
import { and, asc, eq, inArray, lt, notExists, sql } from "drizzle-orm"
import { environments } from "../src/db/environments.ts"
import { imageBuilds, outbox, vms } from "../src/db/schema.ts"
import type { Log } from "../src/log.ts"
import type { Database } from "./vm-row.ts"

const EVERY_MS = 3600 * 1000
/** Short transactions: others wait for none of them. */
const AT_ONCE = 1000

export interface OldRowsOptions {
  readonly db: Database
  readonly hostId: string
  readonly log: Log
}

/** Looks at once, and every hour until it is disposed. */
export const openOldRows = ({ db, hostId, log }: OldRowsOptions): AsyncDisposable => {
  const closing = new AbortController()
  let removing = Promise.resolve()
  const remove = () => {
    removing = removing
      .then(() => removeOldRows(db, hostId, closing.signal))
      .catch((error: unknown) => log.warn({ err: error }, "Old rows could not be removed"))
  }
  const timer = setInterval(remove, EVERY_MS).unref()
  remove()
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      closing.abort()
      await removing
    },
  }
}

/** Removes all that is old now, some at a time. */
export const removeOldRows = async (db: Database, hostId: string, closing: AbortSignal): Promise<void> => {
  for (const removeSome of [() => removeVms(db, hostId), () => removeEvents(db)])
    while (!closing.aborted && (await removeSome()) === AT_ONCE);
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

/** Events of a week ago. Only the oldest are looked at: nothing says where those of a week begin. */
const removeEvents = async (db: Database): Promise<number> => {
  const oldest = db.select({ id: outbox.id }).from(outbox).orderBy(asc(outbox.id)).limit(AT_ONCE)
  const gone = await db
    .delete(outbox)
    .where(and(inArray(outbox.id, oldest), lt(outbox.at, sql`now() - interval '7 days'`)))
    .returning({ id: outbox.id })
  return gone.length
}
