/**
 * Processes that stand ready for VMs of bases in recent use: started, with their slot, and loaded with nothing. A VM that is launched or
 * woken takes one of its base, and begins where the others only get to after most of their wait. They are this daemon's alone: the next
 * one's sweep ends what it left. (VMs that have run already, and need only to be continued, would stand here, too.)
 */
import { randomUUID } from "node:crypto"
import { join } from "node:path"
import type { bases } from "../src/db/schema.ts"
import type { Drive, DriveFile, Spare } from "../src/vmm/vmm.ts"
import { fromPlace, isIn, refuseLostDisk, toDriveFile, type Places } from "./disks.ts"
import { makeVmDirectory, type LiveVm, type VmHost } from "./vm.ts"

export type Base = typeof bases.$inferSelect

export interface Spares extends AsyncDisposable {
  /** One of this base, the caller's from here on, its slot and its directory too; nothing when there is none. */
  take(baseId: string): Spare | undefined
  /** Has more made, once a VM of the base, which has these further drives, is at rest; others go first. Returns at once. */
  fillBehind(live: Pick<LiveVm, "vm">, base: Base, drives: readonly Drive[]): void
  /** Ends all that wait: their memory is wanted. */
  clear(): Promise<void>
}

export interface SparesOptions {
  readonly host: VmHost
  readonly places: Places
  readonly createOverlay: (path: string) => Promise<void>
  /** What is behind a drive that has nothing. */
  readonly emptyDrive: string
  /** How many there are at most, and of one base. */
  readonly max: number
  readonly maxPerBase: number
  /** How much of the host's memory may be booked when another is made. */
  readonly maxBookedShare: number
  /** How long one waits. */
  readonly idleMs: number
}

/** The further drives of a VM, and where it has files of its own. */
interface Pattern {
  readonly drives: readonly Drive[]
  readonly directory: string
}

const PREPARE_TIMEOUT_MS = 60_000

/** The spares of this host; disposing ends every one that waits. */
export const createSpares = (options: SparesOptions): Spares => {
  const { host, max, maxPerBase, maxBookedShare, idleMs } = options
  const { ledger, log } = host
  /** By their bases, the longest unused first. */
  const waiting = new Map<string, Spare[]>()
  const filling = new Map<string, Promise<void>>()
  const closing = new AbortController()

  const put = (baseId: string, spares: Spare[]) => {
    waiting.delete(baseId)
    if (spares.length > 0) waiting.set(baseId, spares)
  }
  const count = () => [...waiting.values()].reduce((sum, spares) => sum + spares.length, 0)

  /** One that has been taken is nobody's to end here. */
  const remove = async (baseId: string, spare: Spare) => {
    const spares = waiting.get(baseId) ?? []
    if (!spares.includes(spare)) return
    put(
      baseId,
      spares.filter((other) => other !== spare),
    )
    await end(host, spare).catch((error: unknown) => log.warn({ err: error }, "What stood ready could not be ended"))
  }

  const hasRoom = async (baseId: string): Promise<boolean> => {
    if (closing.signal.aborted || (waiting.get(baseId)?.length ?? 0) >= maxPerBase) return false
    if (ledger.reservedMiB > ledger.capacityMiB * maxBookedShare) return false
    if (count() < max) return true
    const [longest] = waiting
    const spare = longest?.[1][0]
    if (longest === undefined || spare === undefined || longest[0] === baseId) return false
    await remove(longest[0], spare)
    return true
  }

  const fill = async (base: Base, pattern: Pattern) => {
    while (await hasRoom(base.id)) {
      const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(PREPARE_TIMEOUT_MS)])
      const spare = await prepare(options, base, pattern, signal)
      put(base.id, [...(waiting.get(base.id) ?? []), spare])
      log.info({ base: base.id, pid: spare.process.pid }, "A process stands ready")
      setTimeout(() => void remove(base.id, spare), idleMs).unref()
      void spare.exited.then(() => remove(base.id, spare))
    }
  }

  const clear = async () => {
    await Promise.all([...waiting].flatMap(([baseId, spares]) => spares.map((spare) => remove(baseId, spare))))
  }

  return {
    take(baseId) {
      const [spare, ...others] = waiting.get(baseId) ?? []
      put(baseId, others)
      if (spare !== undefined) ledger.release(spare.process.id)
      return spare
    },
    fillBehind({ vm }, base, drives) {
      if (max === 0 || filling.has(base.id)) return
      const filled = vm
        .untilQuiet(closing.signal)
        .then(() => fill(base, { drives, directory: vm.spec.directory }))
        .catch((error: unknown) => {
          if (!closing.signal.aborted) log.warn({ err: error, base: base.id }, "No process could be made ready")
        })
        .finally(() => filling.delete(base.id))
      filling.set(base.id, filled)
    },
    clear,
    async [Symbol.asyncDispose]() {
      closing.abort()
      await Promise.all(filling.values())
      await clear()
    },
  }
}

const end = async ({ ledger, slots, removeDirectoryOf }: VmHost, { process, spec, kill }: Spare) => {
  await kill()
  await slots.release(spec.slot)
  await removeDirectoryOf(process.id)
  ledger.release(process.id)
}

/** What a process has until it is a VM's: the drives of another one of its base, without that one's own files. */
const toReady = (
  { emptyDrive, createOverlay }: Pick<SparesOptions, "emptyDrive" | "createOverlay">,
  { drives, directory: from }: Pattern,
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

/** Starts one; what fails leaves nothing. */
const prepare = async (options: SparesOptions, base: Base, pattern: Pattern, signal: AbortSignal): Promise<Spare> => {
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
      return await vmm.prepare(
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
