/** What a VM that is launched from a snapshot needs in its directory, and one that is launched before it is known whose it will be. */
import { randomUUID } from "node:crypto"
import { constants, copyFile } from "node:fs/promises"
import { eq } from "drizzle-orm"
import { bases, vms } from "../../../src/db/schema.ts"
import { vmFiles } from "../../disks.ts"
import { FUNCTION_HOSTNAME } from "../../functions/function-spec.ts"
import { createLoad, type LoadingOptions } from "../../vms/loading.ts"
import { rehearse } from "../../vms/rehearsal.ts"
import { makeVmDirectory, type LiveVm, type VmHost } from "../../vm.ts"
import { findVm, recordProcess } from "../../vm-row.ts"
import { layDrives, readDrives, readLaid, temporaryOverlay } from "../drives.ts"
import type { StandingVm } from "./standing-vms.ts"
import { remainsOf, type VersionSnapshot } from "./version-snapshots.ts"

/** The snapshot's drives in the directory of a VM, its `/tmp` as it was left. */
export const laySnapshot = async (
  host: VmHost,
  vmId: string,
  { directory: from }: Pick<VersionSnapshot, "directory">,
): Promise<void> => {
  const copy = (to: string) => copyFile(temporaryOverlay(from), to, constants.COPYFILE_FICLONE)
  await layDrives(await makeVmDirectory(host, vmId), await readLaid(from), copy)
}

/** A paused VM in the life that its next owner begins: nothing of this daemon is connected to its guest. */
export const toStanding = async (host: VmHost, { vm, slot }: Pick<LiveVm, "vm" | "slot">): Promise<StandingVm> => {
  const { vmId } = vm.spec
  await host.letGo(vmId)
  const { incarnation } = await host.begin(vmId, slot, vm.process)
  return { vm, slot, incarnation }
}

export interface StandingOptions extends Pick<LoadingOptions, "host" | "places" | "createOverlay"> {
  /** What is behind a drive that has nothing. */
  readonly emptyDrive: string
}

/** Launches one from a snapshot and has it rehearse; what fails leaves nothing. */
export const prepareStanding = async (
  options: StandingOptions,
  snapshot: VersionSnapshot,
  signal: AbortSignal,
): Promise<StandingVm> => {
  const { host, emptyDrive } = options
  const { db, hostId, ledger } = host
  const { baseId } = snapshot
  const [base] = await db.select().from(bases).where(eq(bases.id, baseId))
  if (base === undefined) throw new Error(`Base ${baseId} is gone`)
  const vmId = randomUUID()
  const { memoryMiB, vcpus } = base
  await db.insert(vms).values({ id: vmId, hostId, kind: "build", baseId, memoryMiB, vcpus })
  try {
    if (!ledger.reserve(vmId, memoryMiB)) throw new Error("There is no room for it")
    await laySnapshot(host, vmId, snapshot)
    const [remains, files] = [remainsOf(snapshot), vmFiles(host.directoryOf(vmId))]
    const own = { overlay: files.overlay(0), delta: { ...remains.delta, state: files.delta(0).state } }
    await Promise.all([
      copyFile(remains.overlay, own.overlay, constants.COPYFILE_FICLONE),
      copyFile(remains.delta.state, own.delta.state),
    ])
    const load = createLoad({ ...options, drivesOf: (id) => readDrives(host.directoryOf(id), emptyDrive) })
    const { live } = await load(await findVm(db, vmId), base, own, signal)
    await recordProcess(db, vmId, live.vm.process, false)
    await host.letGo(vmId)
    await rehearse(host, live.vm, live.slot, signal, FUNCTION_HOSTNAME)
    return await toStanding(host, live)
  } catch (error) {
    await host.end(vmId)
    throw error
  }
}
