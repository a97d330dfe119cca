/**
 * The start of a daemon after whatever ended the last one: every row that is not over gets its actor back, which looks at its own VM;
 * what carries our host id and no row knows is destroyed. Nothing else is touched.
 */
import { readdir, rm } from "node:fs/promises"
import { join } from "node:path"
import { and, eq, inArray, isNull, notExists, or, sql } from "drizzle-orm"
import type { Snapshot } from "xstate"
import { environments } from "../src/db/environments.ts"
import { imageBuilds, imageVersions, microvms, vms } from "../src/db/schema.ts"
import { MICROVM_MACHINE_VERSION, type MicrovmMachine } from "./microvm.ts"
import { liveMicrovms, toMicrovmInput } from "./microvms/microvm-row.ts"
import type { Registry } from "./registry.ts"
import type { VmHost } from "./vm.ts"
import { liveVms, processOf, recordStopped } from "./vm-row.ts"

/** Ends processes, slots and files that no row accounts for. Before any actor starts: what it finds is nobody's. */
export const sweepHost = async (host: VmHost): Promise<void> => {
  const { db, hostId, dataDirectory, vmm, slots, ledger, log } = host
  await endOrphans(host)
  const rows = await liveVms(db, hostId)
  const known = new Map(rows.flatMap((row) => processOf(row) ?? []).map((process) => [process.id, process]))
  for (const process of await vmm.find()) {
    const expected = known.get(process.id)
    if (expected?.pid === process.pid && expected.startTime === process.startTime) continue
    log.warn({ processId: process.id, pid: process.pid }, "Ending a VM process that no row knows")
    await host.destroy(process)
  }
  await vmm.sweep(new Set(known.keys())).catch((error: unknown) => {
    log.warn({ err: error }, "Not all that ended processes have left could be removed; the next start does it")
  })
  await slots.sweep(new Set(rows.flatMap(({ slot, pid }) => (slot === null || pid === null ? [] : [slot]))))
  for (const { id, slot, pid } of rows) if (slot !== null && pid === null) await recordStopped(db, id)
  await removeOthers(join(dataDirectory, "vms"), new Set([...rows.map(({ id }) => id), ...known.keys()]))
  // Nobody who comes before a VM has been taken over is given what that has.
  for (const { id, pid, memoryMiB } of rows) if (pid !== null) ledger.reserve(id, memoryMiB)
}

/** VMs whose owner is over, or never came to be: a daemon died between two of its steps. */
const endOrphans = async (host: VmHost) => {
  const { db, hostId } = host
  const owned = or(
    and(
      eq(vms.kind, "microvm"),
      notExists(
        db
          .select({ one: sql`1` })
          .from(microvms)
          .where(and(eq(microvms.vmId, vms.id), sql`${microvms.state} <> 'TERMINATED'`)),
      ),
    ),
    and(
      eq(vms.kind, "environment"),
      notExists(
        db
          .select({ one: sql`1` })
          .from(environments)
          .where(and(eq(environments.vmId, vms.id), sql`${environments.state} <> 'TERMINATED'`)),
      ),
    ),
    and(
      eq(vms.kind, "build"),
      notExists(
        db
          .select({ one: sql`1` })
          .from(imageBuilds)
          .innerJoin(imageVersions, eq(imageVersions.id, imageBuilds.imageVersionId))
          .where(and(eq(imageBuilds.vmId, vms.id), inArray(imageVersions.state, ["PENDING", "IN_PROGRESS"]))),
      ),
    ),
  )
  const orphans = await db
    .select({ id: vms.id })
    .from(vms)
    .where(and(eq(vms.hostId, hostId), isNull(vms.endedAt), owned))
  for (const { id } of orphans) await host.end(id)
}

/** Removes all that a directory has but these; none is no error. */
export const removeOthers = async (directory: string, keep: ReadonlySet<string>) => {
  for (const entry of await readdir(directory).catch(() => []))
    if (!keep.has(entry)) await rm(join(directory, entry), { recursive: true, force: true })
}

/** Starts the actor of every MicroVM that is not over. One that runs can be reached when it resolves: the edge opens after this. */
export const restoreMicrovms = async (
  host: VmHost,
  registry: Registry<MicrovmMachine>,
  signal: AbortSignal,
): Promise<void> => {
  const { db, hostId } = host
  const rows = await liveVms(db, hostId)
  // One that cannot be taken over is ended by its own actor, which looks again.
  await Promise.allSettled(
    rows.filter(({ kind, pid }) => kind === "microvm" && pid !== null).map((row) => host.find(row, signal)),
  )
  for (const row of await liveMicrovms(db, hostId)) {
    const input = toMicrovmInput(row)
    const isCurrent = row.machine !== null && row.machineVersion === MICROVM_MACHINE_VERSION
    registry.start(
      row.id,
      row.generation,
      isCurrent ? { input, persisted: row.machine as Snapshot<unknown> } : { input },
    )
  }
}
