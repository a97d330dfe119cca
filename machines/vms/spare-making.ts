/** How a process comes to stand ready: started in a slot and a directory of its own, and loaded and rehearsed where that is asked. */
import { randomUUID } from "node:crypto"
import { join } from "node:path"
import type { bases } from "../../src/db/schema.ts"
import type { Slot } from "../../src/net/slot.ts"
import type { Drive, DriveFile, Spare, Vm } from "../../src/vmm/vmm.ts"
import { fromPlace, isIn, refuseLostDisk, toDriveFile, type Places } from "../disks.ts"
import { makeVmDirectory, type VmHost } from "../vm.ts"

export type Base = typeof bases.$inferSelect

/** What a guest that is loaded and paused does before it is a VM's. Paused again, it knows nothing of what is behind drives that may be others then. */
export type Rehearsal = (spare: { readonly vm: Vm; readonly slot: Slot }, signal: AbortSignal) => Promise<void>

export interface SpareMakingOptions {
  readonly host: VmHost
  readonly places: Places
  readonly createOverlay: (path: string) => Promise<void>
  /** What is behind a drive that has nothing. */
  readonly emptyDrive: string
}

/** What a VM had: its further drives, where it has files of its own; and how others get ready to do as it did. */
export interface SparePattern {
  readonly drives: readonly Drive[]
  readonly directory: string
  readonly rehearsal: Rehearsal | undefined
}

/** What a process has until it is a VM's: the drives of another one of its base, without that one's own files. */
const toReady = (
  { emptyDrive, createOverlay }: Pick<SpareMakingOptions, "emptyDrive" | "createOverlay">,
  { drives, directory: from }: SparePattern,
  directory: string,
): Promise<Drive[]> => {
  const toFile = async (file: DriveFile, drive: number): Promise<DriveFile> => {
    if (!isIn(from, file.path)) return file
    if (file.format === "raw") return toDriveFile(emptyDrive)
    const overlay = join(directory, "disk", `spare-${drive}.qcow2`)
    await createOverlay(overlay)
    return toDriveFile(overlay)
  }
  return Promise.all(
    drives.map(async ({ chain, readOnly }, drive) => ({
      chain: await Promise.all(chain.map((file) => toFile(file, drive))),
      readOnly,
    })),
  )
}

/** Starts one for a base, loaded with nothing or rehearsed; what fails leaves nothing. */
export const makeSpare = async (
  options: SpareMakingOptions,
  base: Base,
  pattern: SparePattern,
  isRehearsed: boolean,
  signal: AbortSignal,
): Promise<Spare> => {
  const { host, places, createOverlay } = options
  const { vmm, slots, ledger } = host
  const id = randomUUID()
  refuseLostDisk(places, base)
  // No guest of its own yet.
  if (!ledger.reserve(id, 0)) throw new Error("There is no room for it")
  try {
    const directory = await makeVmDirectory(host, id)
    const overlay = toDriveFile(join(directory, "disk", "spare.qcow2"))
    await createOverlay(overlay.path)
    const extraDrives = await toReady(options, pattern, directory)
    const slot = await slots.take(signal)
    try {
      const spare = await vmm.prepare(
        {
          id,
          slot,
          directory,
          memoryMiB: base.memoryMiB,
          vcpus: base.vcpus,
          base: { directory: fromPlace(places, `data:bases/${base.id}`) },
          systemDisk: fromPlace(places, base.systemDisk),
          rootDisk: base.rootDisk.map((place) => toDriveFile(fromPlace(places, place))),
          overlay,
          extraDrives,
        },
        signal,
      )
      if (isRehearsed && pattern.rehearsal !== undefined) await rehearseIn(host, spare, pattern.rehearsal, signal)
      return spare
    } catch (error) {
      await slots.release(slot)
      throw error
    }
  } catch (error) {
    await host.removeDirectoryOf(id)
    ledger.release(id)
    throw error
  }
}

/** All of a guest's memory is booked, as long as nobody else needs it; then what it has come to, as it is stopped. What fails ends it. */
const rehearseIn = async (host: VmHost, spare: Spare, rehearsal: Rehearsal, wanted: AbortSignal): Promise<void> => {
  const { vmm, ledger } = host
  const { process, spec } = spare
  const book = (memoryMiB: number) => {
    ledger.release(process.id)
    if (!ledger.reserve(process.id, memoryMiB)) throw new Error("There is no room for it")
  }
  const unneeded = new AbortController()
  const signal = AbortSignal.any([wanted, unneeded.signal])
  try {
    book(spec.memoryMiB)
    ledger.offer(process.id, () => unneeded.abort(new Error("Its memory is needed")))
    const ownMiB = await vmm.rehearse(spare, (vm) => rehearsal({ vm, slot: spec.slot }, signal), signal)
    signal.throwIfAborted()
    book(ownMiB)
  } catch (error) {
    await spare.kill()
    throw error
  }
}
