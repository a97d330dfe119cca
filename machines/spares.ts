/**
 * Processes that stand ready for VMs of bases in recent use: started, with their slot, and loaded with nothing. A VM that is launched or
 * woken takes one of its base, and begins where the others only get to after most of their wait. They are this daemon's alone: the next
 * one's sweep ends what it left. (VMs that have run already, and need only to be continued, would stand here, too.)
 */
import { randomUUID } from "node:crypto"
import { join } from "node:path"
import type { bases } from "../src/db/schema.ts"
import type { Spare } from "../src/vmm/vmm.ts"
import { fromPlace, refuseLostDisk, toDriveFile, type Places } from "./disks.ts"
import { makeVmDirectory, type LiveVm, type VmHost } from "./vm.ts"

export type Base = typeof bases.$inferSelect

export interface Spares extends AsyncDisposable {
  /** One of this base, the caller's from here on, its slot and its directory too; nothing when there is none. */
  take(baseId: string): Spare | undefined
  /** Has more made, once a VM of the base that has just begun to run is at rest; others go first. Returns at once. */
  fillBehind(live: LiveVm, base: Base): void
}

export interface SparesOptions {
  readonly host: VmHost
  readonly places: Places
  readonly createOverlay: (path: string) => Promise<void>
  /** How many there are at most, and of one base. */
  readonly max: number
  readonly maxPerBase: number
  /** How much of the host's memory may be booked when another is made. */
  readonly maxBookedShare: number
  /** How long one waits. */
  readonly idleMs: number
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

  const fill = async (base: Base) => {
    while (await hasRoom(base.id)) {
      const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(PREPARE_TIMEOUT_MS)])
      const spare = await prepare(options, base, signal)
      put(base.id, [...(waiting.get(base.id) ?? []), spare])
      log.info({ base: base.id, pid: spare.process.pid }, "A process stands ready")
      setTimeout(() => void remove(base.id, spare), idleMs).unref()
      void spare.exited.then(() => remove(base.id, spare))
    }
  }

  return {
    take(baseId) {
      const [spare, ...others] = waiting.get(baseId) ?? []
      put(baseId, others)
      if (spare !== undefined) ledger.release(spare.process.id)
      return spare
    },
    fillBehind({ vm }, base) {
      if (max === 0 || filling.has(base.id)) return
      const filled = vm
        .untilQuiet(closing.signal)
        .then(() => fill(base))
        .catch((error: unknown) => {
          if (!closing.signal.aborted) log.warn({ err: error, base: base.id }, "No process could be made ready")
        })
        .finally(() => filling.delete(base.id))
      filling.set(base.id, filled)
    },
    async [Symbol.asyncDispose]() {
      closing.abort()
      await Promise.all(filling.values())
      await Promise.all([...waiting].flatMap(([baseId, spares]) => spares.map((spare) => remove(baseId, spare))))
    },
  }
}

const end = async ({ ledger, slots, removeDirectoryOf }: VmHost, { process, spec, kill }: Spare) => {
  await kill()
  await slots.release(spec.slot)
  await removeDirectoryOf(process.id)
  ledger.release(process.id)
}

/** Starts one; what fails leaves nothing. */
const prepare = async (
  { host, places, createOverlay }: SparesOptions,
  base: Base,
  signal: AbortSignal,
): Promise<Spare> => {
  const { vmm, slots, ledger } = host
  const id = randomUUID()
  refuseLostDisk(places, base)
  // No guest of its own yet.
  if (!ledger.reserve(id, 0)) throw new Error("There is no room for it")
  try {
    const directory = await makeVmDirectory(host, id)
    const overlay = toDriveFile(join(directory, "disk", "spare.qcow2"))
    await createOverlay(overlay.path)
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
