/**
 * How a VM of a base comes to a process that is loaded and paused: one that stood ready, or one of its own. What fails leaves nothing; a
 * process that stood ready and has ended by then is no failure of its VM, which goes on with a fresh one.
 */
import { link, rm } from "node:fs/promises"
import { join, relative } from "node:path"
import type { Slot } from "../../src/net/slot.ts"
import type { DeltaPaths, Drive, DriveFile, LaunchSpec, Spare } from "../../src/vmm/vmm.ts"
import { fromPlace, isIn, refuseLostDisk, toDriveFile, vmFiles, type Places } from "../disks.ts"
import type { Base } from "./spare-making.ts"
import type { Spares } from "./spares.ts"
import type { LiveVm, VmHost } from "../vm.ts"
import type { VmRow } from "../vm-row.ts"

export interface LoadingOptions {
  readonly host: VmHost
  readonly places: Places
  readonly createOverlay: (path: string) => Promise<void>
  /** What is behind the further drives, the same in each of a VM's lives; nothing when it is left out. */
  readonly drivesOf?: (vmId: string) => Promise<readonly Drive[]>
  /** Processes that stand ready. */
  readonly spares?: Spares
}

/** The VM's own: the overlay of its root disk, and its memory and devices if it goes on from where it was. */
export interface OwnFiles {
  readonly overlay: string
  readonly delta: DeltaPaths | undefined
}

/** What a life stands on: a slot, and files where its process finds them. */
interface LifeGround extends OwnFiles {
  readonly slot: Slot
  readonly drives: readonly Drive[]
  readonly directory: string
  readonly spare: Spare | undefined
}

export interface Loaded {
  readonly live: LiveVm
  /** It knows of this life and its slot. */
  readonly row: VmRow
  /** The further drives as its process has them. */
  readonly drives: readonly Drive[]
  /** Ends a life that did not come to be, whatever its row says of it. */
  abandon(): Promise<void>
}

export type Load = (row: VmRow, base: Base, files: OwnFiles, signal: AbortSignal) => Promise<Loaded>

/** Resolves with a guest that can be spoken to; the memory of its VM is booked already. */
export const createLoad = ({
  host,
  places,
  createOverlay,
  drivesOf = async () => [],
  spares,
}: LoadingOptions): Load => {
  const { vmm, slots, ledger, log } = host

  /** A slot and a directory for its process: those of one that stands ready, which gets links to the VM's files, or else the VM's own. */
  const settle = async (
    row: VmRow,
    { overlay, delta }: OwnFiles,
    spare: Spare | undefined,
    signal: AbortSignal,
  ): Promise<LifeGround> => {
    if (spare === undefined) {
      if (delta === undefined) await createOverlay(overlay)
      const [drives, slot] = [await drivesOf(row.id), await slots.take(signal)]
      return { overlay, delta, spare, slot, drives, directory: host.directoryOf(row.id) }
    }
    const { slot, directory } = spare.spec
    try {
      const drives = await linkDrives(await drivesOf(row.id), host.directoryOf(row.id), directory)
      if (delta === undefined) {
        const fresh = spare.spec.overlay.path
        // An earlier try's.
        await rm(overlay, { force: true })
        await link(fresh, overlay)
        return { overlay: fresh, delta, spare, slot, drives, directory }
      }
      const linked = { overlay: vmFiles(directory).overlay(row.diskGeneration), state: join(directory, "state") }
      await Promise.all([link(overlay, linked.overlay), link(delta.state, linked.state)])
      return { overlay: linked.overlay, delta: { ...delta, state: linked.state }, spare, slot, drives, directory }
    } catch (error) {
      await spare.kill()
      await stop(row, { slot, spare })
      throw error
    }
  }

  const stop = async (row: VmRow, { slot, spare }: Pick<LifeGround, "slot" | "spare">) => {
    await host.stop(row)
    slots.retire(slot)
    if (spare !== undefined) await host.removeDirectoryOf(spare.process.id)
  }

  /** The row is written beside the start: a process or a slot that no row knows ends at the next start of the daemon. */
  const start = async (row: VmRow, base: Base, ground: LifeGround, signal: AbortSignal): Promise<Loaded> => {
    const { slot, directory, overlay, delta, drives, spare } = ground
    const chain = [...base.rootDisk.map((place) => fromPlace(places, place)), overlay]
    const spec: LaunchSpec = {
      vmId: row.id,
      slot,
      directory,
      memoryMiB: row.memoryMiB,
      vcpus: row.vcpus,
      base: { directory: fromPlace(places, `data:bases/${base.id}`) },
      systemDisk: fromPlace(places, base.systemDisk),
      rootDisk: chain.map(toDriveFile),
      extraDrives: drives,
      ...(delta === undefined ? {} : { delta }),
      ...(spare === undefined ? {} : { spare }),
    }
    const [launched, begun] = await Promise.allSettled([
      vmm.launch(spec, signal),
      // Of one that sleeps the process is written when its snapshot is consumed: until then it is as asleep as it says.
      host.begin(row.id, slot, delta === undefined ? spare?.process : undefined),
    ])
    if (launched.status === "rejected") throw launched.reason
    try {
      if (begun.status === "rejected") throw begun.reason
      const live = await host.hold(launched.value, slot, begun.value.incarnation, signal)
      return { live, row: begun.value, drives, abandon: () => stop(begun.value, ground) }
    } catch (error) {
      await launched.value.kill()
      throw error
    }
  }

  const loadIn = async (
    row: VmRow,
    base: Base,
    files: OwnFiles,
    spare: Spare | undefined,
    signal: AbortSignal,
  ): Promise<Loaded> => {
    const ground = await settle(row, files, spare, signal)
    try {
      return await start(row, base, ground, signal)
    } catch (error) {
      await stop(row, ground)
      throw error
    }
  }

  return async (row, base, files, signal) => {
    refuseLostDisk(places, base)
    const spare = spares?.take(base.id, files.delta === undefined ? "launch" : "wake")
    if (spare === undefined) return loadIn(row, base, files, spare, signal)
    try {
      return await loadIn(row, base, files, spare, signal)
    } catch (error) {
      if (signal.aborted || !ledger.reserve(row.id, row.memoryMiB)) throw error
      log.warn({ vmId: row.id, err: error }, "A process that stood ready was of no use; its VM gets a fresh one")
      return loadIn(row, base, files, undefined, signal)
    }
  }
}

/** The same drives by names in another directory, where their names are in the first. */
const linkDrives = (drives: readonly Drive[], from: string, to: string): Promise<Drive[]> => {
  const linked = async (file: DriveFile): Promise<DriveFile> => {
    if (!isIn(from, file.path)) return file
    const path = join(to, relative(from, file.path))
    await link(file.path, path)
    return { ...file, path }
  }
  return Promise.all(drives.map(async (drive) => ({ ...drive, chain: await Promise.all(drive.chain.map(linked)) })))
}
