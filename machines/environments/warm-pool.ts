/**
 * VMs that have been launched from a runtime's base, have run its functions of training and were stopped again: what an emulator has
 * translated is in their processes, and only the function is missing: also the `/tmp` that it will have is mounted. One for each base and
 * `/tmp` in recent use, or soon to be used, given away once. They are this daemon's alone: the next one's sweep ends what it left.
 */
import type { VmHost } from "../vm.ts"
import { NEEDS, type Need, type TrainedGround, type WarmGround, type WarmVm } from "./warm-vm.ts"

export interface WarmPool extends AsyncDisposable {
  /** One that stands on this, which is the caller's from here on, its row and its memory too; nothing when there is none. */
  take(ground: WarmGround): WarmVm | undefined
  /**
   * Has another made, if there is none that stands on this and room for one: one that stands for a lesser need goes, the longest there
   * first, or else one that is being made for such. Others go first. Resolves when it stands, or none will; it never rejects.
   */
  fill(ground: TrainedGround, need: Need): Promise<void>
  /** How many wait. */
  readonly count: number
  readonly maxVms: number
}

export interface WarmPoolOptions {
  readonly host: Pick<VmHost, "end" | "ledger" | "slots" | "log">
  /** Makes one; what fails leaves nothing. */
  readonly make: (ground: TrainedGround, need: Need, signal: AbortSignal) => Promise<WarmVm>
  /** How many there are at most, and how much of the host's memory may be booked when another is made. */
  readonly maxVms: number
  readonly maxBookedShare: number
  /** How long one waits. */
  readonly idleMs: number
}

interface Waiting {
  readonly warm: WarmVm
  need: Need
  /** Its memory and its slot are not to be had any more. */
  withdraw(): void
}

interface Making {
  need: Need
  readonly givenUp: AbortController
  readonly made: Promise<void>
}

/** Others go first. */
const PREPARE_TIMEOUT_MS = 600_000

const keyOf = ({ base, temporary }: WarmGround) => `${base.baseId} ${temporary}`
const isLess = (one: Need, other: Need) => NEEDS.indexOf(one) < NEEDS.indexOf(other)

/** The pool of this host; disposing ends every VM that waits. */
export const createWarmPool = ({ host, make, maxVms, maxBookedShare, idleMs }: WarmPoolOptions): WarmPool => {
  const { ledger, slots, log } = host
  /** By what they stand on, the longest there first. */
  const waiting = new Map<string, Waiting>()
  const making = new Map<string, Making>()
  const closing = new AbortController()

  const takeOut = (key: string): WarmVm | undefined => {
    const found = waiting.get(key)
    waiting.delete(key)
    found?.withdraw()
    return found?.warm
  }

  /** One that has been taken is nobody's to end here. */
  const remove = async (key: string, warm: WarmVm) => {
    if (waiting.get(key)?.warm !== warm) return
    takeOut(key)
    const { vmId } = warm.vm.spec
    await host.end(vmId).catch((error: unknown) => log.warn({ err: error, vmId }, "A warm VM could not be ended"))
  }

  const put = (key: string, warm: WarmVm, need: Need) => {
    const { vm, slot } = warm
    const { vmId } = vm.spec
    const giveUp = () => remove(key, warm)
    const timer = setTimeout(giveUp, idleMs).unref()
    const offers = [ledger.offer(vmId, () => void giveUp()), slots.offer(slot, giveUp)]
    waiting.set(key, {
      warm,
      need,
      withdraw() {
        clearTimeout(timer)
        for (const withdraw of offers) withdraw()
      },
    })
    log.info({ vmId, pid: vm.process.pid, need }, "A VM stands loaded for a runtime")
    void vm.exited.then(giveUp)
  }

  const hasRoom = async (memoryMiB: number, need: Need): Promise<boolean> => {
    if (ledger.reservedMiB + memoryMiB > ledger.capacityMiB * maxBookedShare) return false
    if (waiting.size + making.size < maxVms) return true
    const lesser = waiting.entries().find(([, its]) => isLess(its.need, need))
    const unmade = making.values().find((its) => isLess(its.need, need))
    if (lesser !== undefined) await remove(lesser[0], lesser[1].warm)
    else if (unmade !== undefined) {
      unmade.givenUp.abort(new Error("Another is needed more"))
      await unmade.made
    } else return false
    return true
  }

  const begin = (key: string, ground: TrainedGround, need: Need): Making => {
    const givenUp = new AbortController()
    const signal = AbortSignal.any([closing.signal, givenUp.signal, AbortSignal.timeout(PREPARE_TIMEOUT_MS)])
    const makeWhereThereIsRoom = async () => {
      if (await hasRoom(ground.base.memoryMiB, need)) put(key, await make(ground, need, signal), one.need)
    }
    const made = makeWhereThereIsRoom()
      .catch((error: unknown) => {
        if (closing.signal.aborted || givenUp.signal.aborted) return
        log.warn({ err: error, runtime: ground.runtime }, "No VM could be kept warm for a runtime")
      })
      .finally(() => making.delete(key))
    const one: Making = { need, givenUp, made }
    return one
  }

  return {
    maxVms,
    get count() {
      return waiting.size
    },
    take: (ground) => takeOut(keyOf(ground)),
    async fill(ground, need) {
      if (closing.signal.aborted) return
      const key = keyOf(ground)
      const there = waiting.get(key) ?? making.get(key)
      if (there !== undefined && isLess(there.need, need)) there.need = need
      if (waiting.has(key)) return
      const one = making.get(key) ?? begin(key, ground, need)
      making.set(key, one)
      await one.made
    },
    async [Symbol.asyncDispose]() {
      closing.abort()
      await Promise.all([...making.values()].map(({ made }) => made))
      await Promise.all([...waiting].map(([key, { warm }]) => remove(key, warm)))
    },
  }
}
