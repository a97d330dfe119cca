import { and, desc, eq, sql } from "drizzle-orm"
import type { Snapshot, SnapshotFrom } from "xstate"
import { microvms } from "../../src/db/schema.ts"
import { microvmArn } from "../arn.ts"
import { recordChange } from "../history.ts"
import { MICROVM_MACHINE_VERSION, toMicrovmState, type MicrovmInput, type MicrovmMachine } from "../microvm.ts"
import type { Microvm } from "../resources.ts"
import type { Database } from "../vm-row.ts"

export type MicrovmRow = typeof microvms.$inferSelect

/** Writes one step of a MicroVM; `false` when the row has another generation, so another owner. */
export const saveMicrovm = async (
  db: Database,
  id: string,
  generation: number,
  snapshot: SnapshotFrom<MicrovmMachine>,
  persisted: Snapshot<unknown>,
): Promise<boolean> => {
  const state = toMicrovmState(snapshot)
  const { cause, stateReason, suspendedAt, by } = snapshot.context
  const before = db
    .select({ id: microvms.id, state: microvms.state })
    .from(microvms)
    .where(eq(microvms.id, id))
    .for("update")
    .as("before")
  const [row] = await db
    .update(microvms)
    .set({
      state,
      cause,
      stateReason,
      suspendedAt: suspendedAt === null ? null : new Date(suspendedAt),
      terminatedAt: state === "TERMINATED" ? sql`coalesce(${microvms.terminatedAt}, now())` : null,
      machine: persisted,
      machineVersion: MICROVM_MACHINE_VERSION,
      generation: generation + 1,
    })
    .from(before)
    .where(and(eq(microvms.id, id), eq(microvms.generation, generation)))
    .returning({ account: microvms.account, region: microvms.region, stateBefore: before.state })
  if (row === undefined) return false
  if (row.stateBefore !== state)
    await recordChange(db, {
      scope: row,
      resource: microvmArn(row, id),
      type: `microvm.${state.toLowerCase()}`,
      cause,
      by: by ?? undefined,
      details: stateReason === null ? {} : { reason: stateReason },
    })
  return true
}

/** What the machine enters with after a restart, when its persisted snapshot is of an older version. */
export const toMicrovmInput = (row: MicrovmRow): MicrovmInput => ({
  id: row.id,
  vmId: row.vmId,
  state: row.state,
  cause: row.cause,
  stateReason: row.stateReason,
  deadlineAt: row.deadlineAt.getTime(),
  suspendedAt: row.suspendedAt?.getTime() ?? null,
  idlePolicy: row.idlePolicy,
})

/** As the API sees it. */
export const toMicrovm = (row: MicrovmRow): Microvm => ({
  id: row.id,
  endpointId: row.endpointId,
  state: row.state,
  stateReason: row.stateReason,
  imageName: row.imageName,
  imageVersion: row.imageVersion,
  idlePolicy: row.idlePolicy,
  maximumDurationSeconds: row.maximumDurationSeconds,
  executionRoleArn: row.executionRoleArn,
  ingressConnectors: row.ingressConnectors,
  egressConnectors: row.egressConnectors,
  startedAt: row.startedAt,
  terminatedAt: row.terminatedAt,
})

/** The MicroVM behind an endpoint, over or not. */
export const findByEndpoint = async (db: Database, endpointId: string): Promise<MicrovmRow | undefined> => {
  const [row] = await db.select().from(microvms).where(eq(microvms.endpointId, endpointId))
  return row
}

/** Every MicroVM of this host that is not over, oldest last. */
export const liveMicrovms = (db: Database, hostId: string): Promise<MicrovmRow[]> =>
  db
    .select()
    .from(microvms)
    .where(and(eq(microvms.hostId, hostId), sql`${microvms.state} <> 'TERMINATED'`))
    .orderBy(desc(microvms.startedAt))
