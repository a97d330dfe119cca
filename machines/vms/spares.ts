/**
 * Processes that stand ready for VMs of bases in recent use, with their slot. Some have rehearsed: their guest is loaded, and has done
 * what a launch does; a VM that is launched is thawed again, as itself. Others have started and loaded nothing, which is what a VM that is
 * woken needs. Either begins where the rest only get to after most of their wait. They are this daemon's alone: the next one's sweep ends
 * what it left.
 */
import { Gauge, type Registry as Metrics } from "prom-client"
import type { Drive, Spare } from "../../src/vmm/vmm.ts"
import { rehearse } from "./rehearsal.ts"
import { compare, firstOf, kindOf, toGo, type Kind, type Missing, type Purpose, type Stock } from "./spare-choice.ts"
import { makeSpare, type Base, type Rehearsal, type SpareMakingOptions, type SparePattern } from "./spare-making.ts"
import type { LiveVm, VmHost } from "../vm.ts"

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
  const stocks = new Map<string, Stock>()
  const filling = new Map<string, Promise<void>>()
  const closing = new AbortController()
  const ready: Gauge = new Gauge({
    name: "torpor_spare_processes",
    help: "Processes of virtual machines that stand ready, by how far they are.",
    labelNames: ["kind"],
    registers: [options.metrics],
    collect() {
      const all = [...stocks.values()].flatMap(({ spares }) => spares.map(kindOf))
      for (const kind of ["rehearsed", "started"] satisfies Kind[])
        ready.set({ kind }, all.filter((its) => its === kind).length)
    },
  })

  const count = () => [...stocks.values()].reduce((sum, { spares }) => sum + spares.length, 0)

  /** Its base has not been used by that. */
  const takeOut = (baseId: string, spare: Spare): boolean => {
    const stock = stocks.get(baseId)
    if (stock === undefined || !stock.spares.includes(spare)) return false
    const spares = stock.spares.filter((other) => other !== spare)
    if (spares.length > 0) stocks.set(baseId, { ...stock, spares })
    else stocks.delete(baseId)
    return true
  }

  /** One that has been taken is nobody's to end here. */
  const remove = async (baseId: string, spare: Spare) => {
    if (!takeOut(baseId, spare)) return
    await end(host, spare).catch((error: unknown) => log.warn({ err: error }, "What stood ready could not be ended"))
  }

  /** Whether there is room for one more of a base, of which one that is of less use may go. */
  const hasRoom = async (
    baseId: string,
    { isFirst }: Missing,
    isExpected: boolean,
    surplus: Spare | undefined,
  ): Promise<boolean> => {
    if (closing.signal.aborted || ledger.reservedMiB > ledger.capacityMiB * maxBookedShare) return false
    const isFull = (stocks.get(baseId)?.spares.length ?? 0) >= maxPerBase
    if (!isFull && count() < max) return true
    if (isExpected) return false
    const own = surplus && { baseId, spare: surplus }
    const going = isFull ? own : (toGo(stocks, baseId, isFirst) ?? own)
    if (going !== undefined) await remove(going.baseId, going.spare)
    return going !== undefined
  }

  const fill = async (base: Base, pattern: Pattern) => {
    const { purpose, rehearsal } = pattern
    for (;;) {
      const spares = stocks.get(base.id)?.spares ?? []
      const { missing, surplus } = compare(spares, purpose, maxPerBase, rehearsal !== undefined)
      if (missing === undefined || !(await hasRoom(base.id, missing, pattern.isExpected, surplus))) return
      const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(PREPARE_TIMEOUT_MS)])
      const { kind } = missing
      const spare = await makeSpare(options, base, pattern, kind === "rehearsed", signal)
      const others = stocks.get(base.id)?.spares ?? []
      stocks.delete(base.id)
      stocks.set(base.id, { spares: [...others, spare], first: firstOf(purpose) })
      log.info({ base: base.id, pid: spare.process.pid, kind }, "A process stands ready")
      ledger.offer(spare.process.id, () => void remove(base.id, spare))
      setTimeout(() => void remove(base.id, spare), idleMs).unref()
      void spare.exited.then(() => remove(base.id, spare))
    }
  }

  const clear = async () => {
    await Promise.all([...stocks].flatMap(([baseId, { spares }]) => spares.map((spare) => remove(baseId, spare))))
  }

  return {
    take(baseId, purpose) {
      const stock = stocks.get(baseId)
      if (stock === undefined) return undefined
      // Its base is in use.
      stocks.delete(baseId)
      stocks.set(baseId, stock)
      const loaded = purpose === "launch" ? stock.spares.find(({ isLoaded }) => isLoaded) : undefined
      const spare = loaded ?? stock.spares.find(({ isLoaded }) => !isLoaded)
      if (spare !== undefined) {
        takeOut(baseId, spare)
        ledger.release(spare.process.id)
      }
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

const end = async ({ ledger, slots, removeDirectoryOf }: VmHost, { process, spec, kill }: Spare) => {
  await kill()
  await slots.release(spec.slot)
  await removeDirectoryOf(process.id)
  ledger.release(process.id)
}
