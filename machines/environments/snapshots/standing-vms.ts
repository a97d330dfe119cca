/**
 * VMs that stand where a version's snapshot begins: stopped, the application frozen. The first is the one that the snapshot was made of;
 * one that is made behind others was loaded from it, and thawed once while its application stayed frozen. Either begins with what an
 * emulator has translated. One for each snapshot in recent use, given away once. They are this daemon's alone: the next one's sweep ends
 * what it left.
 */
import type { Slot } from "../../../src/net/slot.ts"
import type { Vm } from "../../../src/vmm/vmm.ts"
import type { VmHost } from "../../vm.ts"
import type { VersionSnapshot } from "./version-snapshots.ts"

/** Its row is that of a VM which a build has, and its memory is booked. */
export interface StandingVm {
  readonly vm: Vm
  readonly slot: Slot
  /** Of the life that is to begin: its secret is in no snapshot. */
  readonly incarnation: number
  /** When its log was begun, if it has one: it is that of an environment with the VM's own id. */
  readonly loggedSince?: Date
}

export interface StandingVms extends AsyncDisposable {
  /** Keeps one, or ends it; returns at once. */
  put(snapshotId: string, standing: StandingVm): void
  /** The one of a snapshot, the caller's from here on; nothing when there is none. */
  take(snapshotId: string): StandingVm | undefined
  /** Has one made, if there is none and there is room; others go first. Returns at once. */
  fill(snapshot: VersionSnapshot): void
  /** Ends that of a snapshot which is gone; returns at once. */
  drop(snapshotId: string): void
  /** How many there are. */
  readonly count: number
}

export interface StandingVmsOptions {
  readonly host: Pick<VmHost, "end" | "ledger" | "slots" | "log">
  /** Makes one; what fails leaves nothing. */
  readonly prepare: (snapshot: VersionSnapshot, signal: AbortSignal) => Promise<StandingVm>
  /** How many there are at most; the longest unused go first. */
  readonly maxVms: number
  /** How much of the host's memory may be booked when another is made. */
  readonly maxBookedShare: number
  /** How long one waits. */
  readonly idleMs: number
}

/** Others go first. */
const PREPARE_TIMEOUT_MS = 300_000

interface Waiting {
  readonly standing: StandingVm
  release(): void
}

/** Those of this host; disposing ends every one that waits. */
export const createStandingVms = (options: StandingVmsOptions): StandingVms => {
  const { host, prepare, maxVms, maxBookedShare, idleMs } = options
  const { ledger, slots, log } = host
  /** By their snapshots, the longest unused first. */
  const waiting = new Map<string, Waiting>()
  const making = new Map<string, Promise<void>>()
  const ending = new Set<Promise<void>>()
  const closing = new AbortController()

  const take = (snapshotId: string): StandingVm | undefined => {
    const found = waiting.get(snapshotId)
    waiting.delete(snapshotId)
    found?.release()
    return found?.standing
  }

  const end = ({ vm }: StandingVm): Promise<void> => {
    const ended = host
      .end(vm.spec.vmId)
      .catch((error: unknown) =>
        log.warn({ err: error, vmId: vm.spec.vmId }, "A VM that stood ready could not be ended"),
      )
      .finally(() => ending.delete(ended))
    ending.add(ended)
    return ended
  }

  /** One that has been taken is nobody's to end here. */
  const remove = async (snapshotId: string, standing: StandingVm) => {
    if (waiting.get(snapshotId)?.standing !== standing) return
    take(snapshotId)
    await end(standing)
  }

  const put = (snapshotId: string, standing: StandingVm) => {
    const { vm, slot } = standing
    if (closing.signal.aborted || maxVms === 0 || waiting.has(snapshotId)) {
      void end(standing)
      return
    }
    for (const [longest, { standing: unused }] of waiting)
      if (waiting.size >= maxVms) void remove(longest, unused)
      else break
    const giveUp = () => remove(snapshotId, standing)
    const timer = setTimeout(giveUp, idleMs).unref()
    const withdrawals = [ledger.offer(vm.spec.vmId, () => void giveUp()), slots.offer(slot, giveUp)]
    waiting.set(snapshotId, {
      standing,
      release() {
        clearTimeout(timer)
        for (const withdraw of withdrawals) withdraw()
      },
    })
    log.info({ snapshot: snapshotId, pid: vm.process.pid }, "A VM stands where a function's snapshot begins")
    void vm.exited.then(giveUp)
  }

  const make = async (snapshot: VersionSnapshot) => {
    const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(PREPARE_TIMEOUT_MS)])
    put(snapshot.id, await prepare(snapshot, signal))
  }

  return {
    put,
    take,
    fill(snapshot) {
      const { id } = snapshot
      const isMuch = ledger.reservedMiB > ledger.capacityMiB * maxBookedShare
      if (closing.signal.aborted || maxVms === 0 || isMuch || waiting.has(id) || making.has(id)) return
      const made = make(snapshot)
        .catch((error: unknown) => {
          if (!closing.signal.aborted) log.warn({ err: error, snapshot: id }, "No VM could be made to stand ready")
        })
        .finally(() => making.delete(id))
      making.set(id, made)
    },
    drop(snapshotId) {
      const standing = take(snapshotId)
      if (standing !== undefined) void end(standing)
    },
    get count() {
      return waiting.size
    },
    async [Symbol.asyncDispose]() {
      closing.abort()
      await Promise.all(making.values())
      for (const snapshotId of waiting.keys()) this.drop(snapshotId)
      await Promise.all(ending)
    },
  }
}
