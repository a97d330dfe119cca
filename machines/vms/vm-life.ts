/**
 * Launch, sleep and wake of a VM that comes from a base. Each begins by looking at what an earlier, interrupted try left:
 * the row says how far it got, and a process that never ran on is thrown away.
 */
import { constants, copyFile, rm } from "node:fs/promises"
import { createHash } from "node:crypto"
import { eq } from "drizzle-orm"
import { unlessAborted } from "../../src/abort.ts"
import { failpoint } from "../../src/failpoint.ts"
import { bases } from "../../src/db/schema.ts"
import type { ThawInput } from "../../src/agent/thaw.ts"
import type { DeltaPaths } from "../../src/vmm/vmm.ts"
import { vmFiles } from "../disks.ts"
import { endLast } from "./end-last.ts"
import { createLoad, type Loaded, type LoadingOptions } from "./loading.ts"
import type { LightSleep } from "./light-sleep.ts"
import type { VmVerbs } from "../microvm.ts"
import type { Base } from "./spare-making.ts"
import { makeVmDirectory, type LiveVm, type VmHost } from "../vm.ts"
import { findVm, processOf, recordProcess, recordSnapshot, reviveIncarnation, type VmRow } from "../vm-row.ts"

export interface VmLifeOptions extends LoadingOptions {
  /** Where processes of VMs that sleep are kept; without it none is. */
  readonly lightSleep?: LightSleep
  /** The name that a VM's guest has. */
  readonly hostnameOf?: (vmId: string) => string
  /** Resolves when the owner's row says what is being done. */
  readonly stored: (vmId: string) => Promise<void>
}

/** What another VM of the same base has left: a VM that is launched from it goes on where that was. */
export interface Remains {
  readonly delta: Required<DeltaPaths>
  /** Its root disk's overlay, of which a copy is made. */
  readonly overlay: string
}

export interface LoadingVerbs extends VmVerbs {
  /** A fresh launch from the base, or from what another VM has left on it; an earlier try is thrown away. */
  launch(vmId: string, signal: AbortSignal, remains?: Remains): Promise<void>
}

/** The verbs of a statechart over this host. */
export const createVmVerbs = (options: VmLifeOptions): LoadingVerbs => {
  const { host, spares, lightSleep, hostnameOf = (vmId) => `microvm-${vmId.slice(0, 8)}`, stored } = options
  const { db, ledger, log } = host
  const load = createLoad(options)

  const baseOf = async (row: VmRow): Promise<Base> => {
    const [base] = row.baseId === null ? [] : await db.select().from(bases).where(eq(bases.id, row.baseId))
    if (base === undefined) throw new Error(`VM ${row.id} has no base`)
    return base
  }

  /** From here on the guest runs: first thaw, then its application. */
  const run = async (live: LiveVm, row: VmRow, signal: AbortSignal) => {
    // What it is told meanwhile is the first that it does.
    await Promise.all([live.vm.continue(), live.guest.thaw(toThawInput(host, live, hostnameOf(row.id)), signal)])
  }

  /** A kept process in the next life of its VM, past the point of no return and still stopped. Nothing, and its snapshot is as it was, where it is of no use. */
  const revive = async (kept: LiveVm, { id }: VmRow, storing: Promise<void>): Promise<LiveVm | undefined> => {
    try {
      if ((await kept.vm.status()) !== "paused") throw new Error("It runs")
      failpoint("wake: loaded")
      await storing
      const { incarnation } = await reviveIncarnation(db, id, kept.slot.index, kept.vm.process)
      return host.renew(kept, incarnation)
    } catch (error) {
      log.warn({ vmId: id, err: error }, "A sleeping VM's process is of no use; it is woken from disk")
      return undefined
    }
  }

  return endLast({
    async launch(vmId, signal, remains) {
      failpoint("launch: row stored")
      // The row has said since before the actor began that the VM starts; its latest step is waited for where the guest is let go.
      const storing = stored(vmId)
      let row = await findVm(db, vmId)
      // One that has had no life yet has nothing to be stopped, and keeps what is booked for it.
      if (row.incarnation > 0) await host.stop(row)
      if (!ledger.reserve(vmId, row.memoryMiB)) throw new Error("there is not enough memory on this host")
      const [base, directory] = await Promise.all([baseOf(row), makeVmDirectory(host, vmId)])
      const files = vmFiles(directory)
      const overlay = files.overlay(row.diskGeneration)
      const delta = remains === undefined ? undefined : { ...remains.delta, state: files.delta(0).state }
      if (remains !== undefined && delta !== undefined)
        await Promise.all([
          copyFile(remains.overlay, overlay, constants.COPYFILE_FICLONE),
          copyFile(remains.delta.state, delta.state),
        ])
      const loaded = await load(row, base, { overlay, delta }, signal)
      const { live } = loaded
      ;({ row } = loaded)
      try {
        failpoint("launch: loaded")
        await storing
        if (processOf(row) === undefined) row = await recordProcess(db, vmId, live.vm.process, false)
        await run(live, row, signal)
        spares?.fillBehind(live, base, loaded.drives, { purpose: delta === undefined ? "launch" : "wake" })
      } catch (error) {
        await loaded.abandon()
        throw error
      }
    },

    async sleep(vmId, signal) {
      await stored(vmId)
      const row = await findVm(db, vmId)
      if (row.snapshot !== "ready" || row.snapshotIncarnation !== row.incarnation) {
        const live = await host.find(row, signal)
        if (live === undefined) throw new Error("its process ended while it was going to sleep")
        const stopped = await snapshot(host, live, row, signal)
        if (!stopped) {
          await run(live, row, signal)
          return false
        }
        await Promise.all([recordSnapshot(db, vmId, row.incarnation), live.words.flush()])
        failpoint("sleep: delta stored")
        if (lightSleep?.keep(live)) return true
      }
      await host.stop(row)
      return true
    },

    async wake(vmId, signal) {
      // Until the snapshot is consumed it sleeps, whatever has been done: only from there on the row must say more.
      const storing = stored(vmId)
      let row = await findVm(db, vmId)
      if (row.snapshot === "consumed") {
        await storing
        // A daemon died past the point of no return: only this very process may go on.
        const live = await host.find(row, signal)
        if (live === undefined) throw new Error("its process ended while it was waking up")
        await run(live, row, signal)
        return true
      }
      if (row.snapshot !== "ready" || row.snapshotIncarnation === null)
        throw new Error("it has no snapshot to wake up from")
      const files = vmFiles(host.directoryOf(vmId))
      const delta = files.delta(row.snapshotIncarnation)
      // Consumed, it is of no use to anybody.
      const removeSnapshot = () => Promise.all([delta.file, delta.state].map((file) => rm(file, { force: true })))
      const kept = lightSleep?.take(vmId)
      const revived = kept && (await revive(kept, row, storing))
      if (revived !== undefined) {
        failpoint("wake: consumed")
        await Promise.all([run(revived, row, signal), removeSnapshot()])
        lightSleep?.woken("memory")
        return true
      }
      await host.stop(row)
      if (!ledger.reserve(vmId, row.memoryMiB)) return false
      let loaded: Loaded | undefined
      let base: Base
      try {
        base = await baseOf(row)
        loaded = await load(row, base, { overlay: files.overlay(row.diskGeneration), delta }, signal)
        failpoint("wake: loaded")
        await storing
        row = await recordProcess(db, vmId, loaded.live.vm.process, true)
      } catch (error) {
        log.warn({ vmId, err: error }, "A VM could not be woken; it still sleeps")
        await (loaded === undefined ? host.stop(row) : loaded.abandon())
        return false
      }
      const { live } = loaded
      failpoint("wake: consumed")
      await Promise.all([run(live, row, signal), removeSnapshot()])
      lightSleep?.woken("disk")
      spares?.fillBehind(live, base, loaded.drives, { purpose: "wake" })
      return true
    },

    async watch(vmId, signal) {
      const live = await host.find(await findVm(db, vmId), signal)
      if (live === undefined)
        return { cause: "host", reason: "The virtual machine's process ended while the daemon was down." }
      return unlessAborted(live.ended, signal)
    },

    async end(vmId) {
      lightSleep?.take(vmId)
      await host.end(vmId).catch((error: unknown) => {
        log.error({ vmId, err: error }, "Not all of a VM could be removed; the next start does it")
        throw error
      })
    },
  })
}

/** Freezes, stops and writes delta and state. `false`: that failed, and the VM may run on. */
const snapshot = async (host: VmHost, live: LiveVm, row: VmRow, signal: AbortSignal): Promise<boolean> => {
  try {
    // One that is stopped may be so between two events, and not be frozen.
    if ((await live.vm.status()) === "paused") await live.vm.continue()
    await live.guest.freeze(signal)
    await live.vm.pause()
    await live.vm.saveDelta(vmFiles(host.directoryOf(row.id)).delta(row.incarnation))
    return true
  } catch (error) {
    host.log.warn({ vmId: row.id, err: error }, "A VM could not be put to sleep; it runs on")
    return false
  }
}

/** Who the guest is, the same in every life of the VM and another in every VM, and the secret of this life. */
export const toThawInput = (
  { secretOf }: Pick<VmHost, "secretOf">,
  { vm, incarnation }: Pick<LiveVm, "vm" | "incarnation">,
  hostname: string,
): ThawInput => {
  const { vmId } = vm.spec
  return {
    hostname,
    machineId: createHash("sha256").update(`machine-id ${vmId}`).digest("hex").slice(0, 32),
    incarnation,
    secret: secretOf(vmId, incarnation),
  }
}
