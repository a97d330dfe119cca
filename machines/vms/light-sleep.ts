/**
 * The light of the two depths of sleep: a VM whose snapshot is on disk, and whose process is kept as it was when that was made, stopped. It
 * is awake again without a load. The snapshot is the truth; the process is a faster way to the same state, and ending it makes the sleep
 * deep and changes nothing else. No row knows it: the next daemon's sweep ends what this one left. Whoever needs memory or a slot has
 * the longest asleep ended first.
 */
import { Counter, Gauge, type Registry as Metrics } from "prom-client"
import { VMM_OVERHEAD_MIB } from "../../src/capacity/ledger.ts"
import type { LiveVm, VmHost } from "../vm.ts"

export interface LightSleepOptions {
  readonly host: Pick<VmHost, "ledger" | "slots" | "log" | "live" | "stop">
  /** How many are kept at most. */
  readonly max: number
  /** How much of the host's memory they may have together. */
  readonly maxMemoryShare: number
  /** How long one is kept. */
  readonly keptMs: number
  readonly metrics: Metrics
}

export interface LightSleep extends AsyncDisposable {
  /** Keeps a VM that is stopped, asleep on disk, and has no process in its row. `false`: there is no room, and the caller ends it. */
  keep(live: LiveVm): boolean
  /** One that is kept, the caller's to continue or to end from here on. What is being ended just now is waited for by {@link VmHost.stop}. */
  take(vmId: string): LiveVm | undefined
  /** Notes that a VM was woken. */
  woken(from: "memory" | "disk"): void
}

interface Sleeper {
  readonly live: LiveVm
  /** Lets it be for its taker: its offers and its time are over. */
  release(): void
}

/** The light sleepers of this host; disposing makes the sleep of all of them deep. */
export const createLightSleep = ({ host, max, maxMemoryShare, keptMs, metrics }: LightSleepOptions): LightSleep => {
  const { ledger, slots, log } = host
  const maxMiB = ledger.capacityMiB * maxMemoryShare
  /** The longest asleep first. */
  const kept = new Map<string, Sleeper>()
  const ending = new Set<Promise<void>>()
  let closed = false

  const registers = [metrics]
  const count: Gauge = new Gauge({
    name: "torpor_microvms_asleep_in_memory",
    help: "Suspended MicroVMs whose process is kept.",
    registers,
    collect: () => count.set(kept.size),
  })
  const wakes = new Counter({
    name: "torpor_microvm_wakes_total",
    help: "MicroVMs that were woken, by where their memory was.",
    labelNames: ["from"],
    registers,
  })

  const neededMiB = ({ vm }: LiveVm) => vm.spec.memoryMiB + VMM_OVERHEAD_MIB
  const keptMiB = () => [...kept.values()].reduce((sum, { live }) => sum + neededMiB(live), 0)

  const take = (vmId: string): LiveVm | undefined => {
    const sleeper = kept.get(vmId)
    kept.delete(vmId)
    sleeper?.release()
    return sleeper?.live
  }

  /** One that has been taken is nobody's to end here. */
  const deepen = async (live: LiveVm): Promise<void> => {
    const { vmId } = live.vm.spec
    if (kept.get(vmId)?.live !== live) return
    take(vmId)
    const ended = host
      .stop({ id: vmId, slot: null, processId: null, pid: null, processStartTime: null })
      .then(() => log.info({ vmId }, "A sleeping VM's process is gone; it sleeps on disk alone"))
      .catch((error: unknown) => log.warn({ vmId, err: error }, "A sleeping VM's process could not be ended"))
      .finally(() => ending.delete(ended))
    ending.add(ended)
    await ended
  }

  return {
    keep(live) {
      const { vmId } = live.vm.spec
      if (closed || host.live(vmId) !== live || live.isOver() || max === 0 || neededMiB(live) > maxMiB) return false
      for (const { live: longest } of kept.values())
        if (kept.size >= max || keptMiB() + neededMiB(live) > maxMiB) void deepen(longest)
        else break
      const giveUp = () => deepen(live)
      const timer = setTimeout(giveUp, keptMs).unref()
      const withdrawals = [ledger.offer(vmId, () => void giveUp()), slots.offer(live.slot, giveUp)]
      kept.set(vmId, {
        live,
        release() {
          clearTimeout(timer)
          for (const withdraw of withdrawals) withdraw()
        },
      })
      log.info({ vmId, pid: live.vm.process.pid }, "A sleeping VM's process is kept")
      void live.ended.then(giveUp)
      return true
    },
    take,
    woken: (from) => wakes.inc({ from }),
    async [Symbol.asyncDispose]() {
      closed = true
      for (const { live } of kept.values()) void deepen(live)
      await Promise.all(ending)
    },
  }
}
