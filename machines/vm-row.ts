import { and, eq, isNull, sql } from "drizzle-orm"
import type { PostgresJsDatabase } from "drizzle-orm/postgres-js"
import { vms } from "../src/db/schema.ts"
import type { VmProcess } from "../src/vmm/vmm.ts"

/** A connection or a transaction on it. */
export type Database = Pick<PostgresJsDatabase, "select" | "insert" | "update" | "delete" | "execute">

export type VmRow = typeof vms.$inferSelect

/** The row, or a thrown bug: whoever asks for a VM has one. */
export const findVm = async (db: Database, vmId: string): Promise<VmRow> => {
  const [row] = await db.select().from(vms).where(eq(vms.id, vmId))
  if (row === undefined) throw new Error(`There is no row for VM ${vmId}`)
  return row
}

/** Every VM of this host that is not over, with or without a process. */
export const liveVms = (db: Database, hostId: string): Promise<VmRow[]> =>
  db
    .select()
    .from(vms)
    .where(and(eq(vms.hostId, hostId), isNull(vms.endedAt)))

const change = async (db: Database, vmId: string, values: Parameters<ReturnType<Database["update"]>["set"]>[0]) => {
  const [row] = await db
    .update(vms)
    .set(values)
    .where(and(eq(vms.id, vmId), isNull(vms.endedAt)))
    .returning()
  if (row === undefined) throw new Error(`VM ${vmId} is over`)
  return row
}

const NO_PROCESS = { processId: null, pid: null, processStartTime: null }

const toColumns = ({ id, pid, startTime }: VmProcess) => ({ processId: id, pid, processStartTime: startTime })

/** Begins another life of the VM in a slot: the incarnation grows, and its process is known where it stood ready. */
export const beginIncarnation = (db: Database, vmId: string, slot: number, process?: VmProcess): Promise<VmRow> =>
  change(db, vmId, {
    slot,
    incarnation: sql`${vms.incarnation} + 1`,
    ...(process === undefined ? NO_PROCESS : toColumns(process)),
  })

/** The same of one whose process was kept while it slept: the point of no return of its wake. */
export const reviveIncarnation = (db: Database, vmId: string, slot: number, process: VmProcess): Promise<VmRow> =>
  change(db, vmId, {
    slot,
    incarnation: sql`${vms.incarnation} + 1`,
    ...toColumns(process),
    snapshot: "consumed",
  })

/** The process is loaded. With `snapshotConsumed` this is the point of no return of a wake. */
export const recordProcess = (
  db: Database,
  vmId: string,
  process: VmProcess,
  snapshotConsumed: boolean,
): Promise<VmRow> =>
  change(db, vmId, {
    ...toColumns(process),
    ...(snapshotConsumed ? { snapshot: "consumed" as const } : {}),
  })

/** Delta and state of this incarnation are on disk, verified and synced; its process and slot are no VM's any more. */
export const recordSnapshot = (db: Database, vmId: string, incarnation: number): Promise<VmRow> =>
  change(db, vmId, { ...NO_PROCESS, slot: null, snapshot: "ready", snapshotIncarnation: incarnation })

/** No process and no slot any more; nothing happens to a VM that is over. */
export const recordStopped = async (db: Database, vmId: string): Promise<void> => {
  await db
    .update(vms)
    .set({ ...NO_PROCESS, slot: null })
    .where(and(eq(vms.id, vmId), isNull(vms.endedAt)))
}

/** The VM is over; idempotent. */
export const recordEnd = async (db: Database, vmId: string): Promise<void> => {
  await db
    .update(vms)
    .set({
      ...NO_PROCESS,
      slot: null,
      snapshot: "none",
      snapshotIncarnation: null,
      endedAt: new Date(),
    })
    .where(and(eq(vms.id, vmId), isNull(vms.endedAt)))
}

/** The process that a row knows, if it knows one. */
export const processOf = (row: Pick<VmRow, "processId" | "pid" | "processStartTime">): VmProcess | undefined =>
  row.processId === null || row.pid === null || row.processStartTime === null
    ? undefined
    : { id: row.processId, pid: row.pid, startTime: row.processStartTime }
