/**
 * Processes that stand ready for VMs of bases in recent use, with their slot. Some have rehearsed: their guest is loaded, and has done
 * what a launch does; a VM that is launched is thawed again, as itself. Others have started and loaded nothing, which is what a VM that is
 * woken needs. Either begins where the rest only get to after most of their wait. They are this daemon's alone: the next one's sweep ends
 * what it left.
 */
import { Gauge, type Registry as Metrics } from "prom-client"
import type { Drive, Spare } from "../../src/vmm/vmm.ts"
import { rehearse } from "./rehearsal.ts"
import { makeSpare, type Base, type Rehearsal, type SpareMakingOptions, type SparePattern } from "./spare-making.ts"
import type { LiveVm, VmHost } from "../vm.ts"

/** What a VM does with one. */
export type Purpose = "launch" | "wake"

/** What a VM did, so that more of its base may. */
export interface FillCause {
  readonly purpose: Purpose
  /** How those for a launch rehearse; left out they do where the VM has no further drives. */
  readonly rehearsal?: Rehearsal
  /** It is only expected that more will: none that others have used the like of goes for it. */
  readonly isExpected?: boolean
}

export interface Spares extends AsyncDisposable {
  /** One of this base, the caller's from here on, its slot and its directory too; nothing when there is none that is of use for it. */
  take(baseId: string, purpose: Purpose): Spare | undefined
  /**
   * Has more made, once a VM of the base, which has these further drives, is at rest: first for what it did, one for the other, and then
   * for what it did. Others go first. Returns at once.
   */
  fillBehind(live: Pick<LiveVm, "vm">, base: Base, drives: readonly Drive[], cause: FillCause): void
}

export interface SparesOptions extends SpareMakingOptions {
  /** How many there are at most, and of one base. */
  readonly max: number
  readonly maxPerBase: number
  /** How much of the host's memory may be booked when another is made. */
  readonly maxBookedShare: number
  /** How long one waits. */
  readonly idleMs: number
  readonly metrics: Metrics
}

/** What a VM had, and what it did. */
interface Pattern extends SparePattern {
  readonly purpose: Purpose
  readonly isExpected: boolean
}

const PREPARE_TIMEOUT_MS = 300_000

/** The spares of this host; disposing ends every one that waits. */
export const createSpares = (options: SparesOptions): Spares => {
  const { host, max, maxPerBase, maxBookedShare, idleMs } = options
  const { ledger, log } = host
  /** By their bases, the longest unused first. */
  const waiting = new Map<string, Spare[]>()
  const filling = new Map<string, Promise<void>>()
  const closing = new AbortController()
  const ready: Gauge = new Gauge({
    name: "torpor_spare_processes",
    help: "Processes of virtual machines that stand ready, by how far they are.",
    labelNames: ["kind"],
    registers: [options.metrics],
    collect() {
      const all = [...waiting.values()].flat().map(kindOf)
      for (const kind of ["rehearsed", "started"] satisfies Kind[])
        ready.set({ kind }, all.filter((its) => its === kind).length)
    },
  })

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

  /** Whether there is room for one more of a base, of which one that is of less use may go. */
  const hasRoom = async (baseId: string, isExpected: boolean, surplus: Spare | undefined): Promise<boolean> => {
    if (closing.signal.aborted || ledger.reservedMiB > ledger.capacityMiB * maxBookedShare) return false
    const own = waiting.get(baseId)?.length ?? 0
    if (own < maxPerBase && count() < max) return true
    if (isExpected) return false
    const [longest] = waiting
    if (own < maxPerBase && longest !== undefined && longest[0] !== baseId && longest[1][0] !== undefined)
      await remove(longest[0], longest[1][0])
    else if (surplus !== undefined) await remove(baseId, surplus)
    else return false
    return true
  }

  const fill = async (base: Base, pattern: Pattern) => {
    for (;;) {
      const { missing, surplus } = compare(waiting.get(base.id) ?? [], pattern, maxPerBase)
      if (missing === undefined || !(await hasRoom(base.id, pattern.isExpected, surplus))) return
      const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(PREPARE_TIMEOUT_MS)])
      const spare = await makeSpare(options, base, pattern, missing === "rehearsed", signal)
      put(base.id, [...(waiting.get(base.id) ?? []), spare])
      log.info({ base: base.id, pid: spare.process.pid, kind: missing }, "A process stands ready")
      ledger.offer(spare.process.id, () => void remove(base.id, spare))
      setTimeout(() => void remove(base.id, spare), idleMs).unref()
      void spare.exited.then(() => remove(base.id, spare))
    }
  }

  const clear = async () => {
    await Promise.all([...waiting].flatMap(([baseId, spares]) => spares.map((spare) => remove(baseId, spare))))
  }

  return {
    take(baseId, purpose) {
      const spares = waiting.get(baseId) ?? []
      const loaded = purpose === "launch" ? spares.find(({ isLoaded }) => isLoaded) : undefined
      const spare = loaded ?? spares.find(({ isLoaded }) => !isLoaded)
      put(
        baseId,
        spares.filter((other) => other !== spare),
      )
      if (spare !== undefined) ledger.release(spare.process.id)
      return spare
    },
    fillBehind({ vm }, base, drives, { purpose, rehearsal: asked, isExpected = false }) {
      const before = filling.get(base.id)
      // Who knows how to rehearse has a turn of its own.
      if (max === 0 || (before !== undefined && asked === undefined)) return
      const rehearsal =
        asked ?? (drives.length > 0 ? undefined : (spare, signal) => rehearse(host, spare.vm, spare.slot, signal))
      const quiet = vm.untilQuiet(closing.signal)
      // What is being made is waited for in any case: disposing ends it.
      const filled = Promise.allSettled([quiet, before])
        .then(() => quiet)
        .then(() => fill(base, { drives, directory: vm.spec.directory, purpose, rehearsal, isExpected }))
        .catch((error: unknown) => {
          if (!closing.signal.aborted) log.warn({ err: error, base: base.id }, "No process could be made ready")
        })
        .finally(() => {
          if (filling.get(base.id) === filled) filling.delete(base.id)
        })
      filling.set(base.id, filled)
    },
    async [Symbol.asyncDispose]() {
      closing.abort()
      await Promise.all(filling.values())
      await clear()
    },
  }
}

type Kind = "rehearsed" | "started"

const kindOf = ({ isLoaded }: Spare): Kind => (isLoaded ? "rehearsed" : "started")

/** The kinds that are to stand ready, the most urgent first. */
const toWanted = (purpose: Purpose, count: number): Kind[] => {
  const [first, other] =
    purpose === "launch" ? (["rehearsed", "started"] as const) : (["started", "rehearsed"] as const)
  return Array.from({ length: count }, (_, index) => (index === 1 ? other : first))
}

/** The first kind that is missing, and one that is there and not wanted. What cannot be made here is left as others made it. */
const compare = (
  spares: readonly Spare[],
  { purpose, rehearsal }: Pattern,
  count: number,
): { missing?: Kind; surplus?: Spare } => {
  const left = rehearsal === undefined ? spares.filter(({ isLoaded }) => !isLoaded) : [...spares]
  const wanted =
    rehearsal === undefined
      ? Array<Kind>(count - (spares.length - left.length)).fill("started")
      : toWanted(purpose, count)
  const missing = wanted.filter((kind) => {
    const at = left.findIndex((spare) => kindOf(spare) === kind)
    if (at >= 0) left.splice(at, 1)
    return at < 0
  })
  return { ...(missing[0] && { missing: missing[0] }), ...(left[0] && { surplus: left[0] }) }
}

const end = async ({ ledger, slots, removeDirectoryOf }: VmHost, { process, spec, kill }: Spare) => {
  await kill()
  await slots.release(spec.slot)
  await removeDirectoryOf(process.id)
  ledger.release(process.id)
}
