/**
 * Launch, sleep and wake of a VM that comes from a base. Each begins by looking at what an earlier, interrupted try left:
 * the row says how far it got, and a process that never ran on is thrown away.
 */
import { constants, copyFile, link, rm } from "node:fs/promises"
import { join } from "node:path"
import { createHash } from "node:crypto"
import { eq } from "drizzle-orm"
import { unlessAborted } from "../src/abort.ts"
import { failpoint } from "../src/failpoint.ts"
import { bases } from "../src/db/schema.ts"
import type { ThawInput } from "../src/agent/thaw.ts"
import type { DeltaPaths, Drive, LaunchSpec, Spare } from "../src/vmm/vmm.ts"
import { fromPlace, refuseLostDisk, toDriveFile, vmFiles, type Places } from "./disks.ts"
import type { VmVerbs } from "./microvm.ts"
import type { Slot } from "../src/net/slot.ts"
import type { Base, Spares } from "./spares.ts"
import { makeVmDirectory, type LiveVm, type VmHost } from "./vm.ts"
import { beginIncarnation, findVm, processOf, recordProcess, recordSnapshot, type VmRow } from "./vm-row.ts"

export interface VmLifeOptions {
  readonly host: VmHost
  readonly places: Places
  readonly createOverlay: (path: string) => Promise<void>
  /** What is behind the further drives, the same in each of a VM's lives; nothing when it is left out. */
  readonly drivesOf?: (vmId: string) => Promise<readonly Drive[]>
  /** Processes that stand ready, for VMs without further drives. */
  readonly spares?: Spares
  /** The name that a VM's guest has. */
  readonly hostnameOf?: (vmId: string) => string
  /** Resolves when the owner's row says what is being done. */
  readonly stored: (vmId: string) => Promise<void>
}

/** What a life stands on: a slot, and files where its process finds them. */
interface Ground {
  readonly slot: Slot
  readonly directory: string
  readonly overlay: string
  readonly delta: LaunchSpec["delta"]
  readonly spare: Spare | undefined
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
export const createVmVerbs = ({
  host,
  places,
  createOverlay,
  drivesOf = async () => [],
  spares,
  hostnameOf = (vmId) => `microvm-${vmId.slice(0, 8)}`,
  stored,
}: VmLifeOptions): LoadingVerbs => {
  const { db, vmm, slots, ledger, log } = host

  const baseOf = async (row: VmRow): Promise<Base> => {
    const [base] = row.baseId === null ? [] : await db.select().from(bases).where(eq(bases.id, row.baseId))
    if (base === undefined) throw new Error(`VM ${row.id} has no base`)
    return base
  }

  /**
   * Everything up to a loaded, paused process whose guest can be spoken to, and a row that knows of this life and its slot. What fails is
   * undone before it rejects. The row is written beside the start: a process or a slot that no row knows ends at the next start.
   */
  const load = async (
    row: VmRow,
    base: Base,
    { slot, directory, overlay, delta, spare }: Ground,
    signal: AbortSignal,
  ): Promise<{ live: LiveVm; row: VmRow }> => {
    const extraDrives = await drivesOf(row.id)
    const chain = [...base.rootDisk.map((place) => fromPlace(places, place)), overlay]
    const [launched, begun] = await Promise.allSettled([
      vmm.launch(
        {
          vmId: row.id,
          slot,
          directory,
          memoryMiB: row.memoryMiB,
          vcpus: row.vcpus,
          base: { directory: fromPlace(places, `data:bases/${base.id}`) },
          systemDisk: fromPlace(places, base.systemDisk),
          rootDisk: chain.map(toDriveFile),
          extraDrives,
          ...(delta === undefined ? {} : { delta }),
          ...(spare === undefined ? {} : { spare }),
        },
        signal,
      ),
      // Of one that sleeps the process is written when its snapshot is consumed: until then it is as asleep as it says.
      beginIncarnation(db, row.id, slot.index, delta === undefined ? spare?.process : undefined),
    ])
    if (launched.status === "rejected") throw launched.reason
    try {
      if (begun.status === "rejected") throw begun.reason
      return { live: await host.hold(launched.value, slot, begun.value.incarnation, signal), row: begun.value }
    } catch (error) {
      await launched.value.kill()
      throw error
    }
  }

  /** A slot and a directory for its process: those of one that stands ready, which gets links to the VM's files, or else the VM's own. */
  const settle = async (
    row: VmRow,
    base: Base,
    { overlay, delta }: Pick<Ground, "overlay" | "delta">,
    signal: AbortSignal,
  ): Promise<Ground> => {
    refuseLostDisk(places, base)
    const spare = spares?.take(base.id)
    if (spare === undefined) {
      if (delta === undefined) await createOverlay(overlay)
      return { overlay, delta, spare, slot: await slots.take(signal), directory: host.directoryOf(row.id) }
    }
    const { slot, directory } = spare.spec
    try {
      if (delta === undefined) {
        const fresh = spare.spec.overlay.path
        // An earlier try's.
        await rm(overlay, { force: true })
        await link(fresh, overlay)
        return { overlay: fresh, delta, spare, slot, directory }
      }
      const linked = { overlay: vmFiles(directory).overlay(row.diskGeneration), state: join(directory, "state") }
      await Promise.all([link(overlay, linked.overlay), link(delta.state, linked.state)])
      return { overlay: linked.overlay, delta: { ...delta, state: linked.state }, spare, slot, directory }
    } catch (error) {
      await spare.kill()
      await stop(row, { slot, spare })
      throw error
    }
  }

  /** Ends a life that did not come to be, whatever its row says of it. */
  const stop = async (row: VmRow, { slot, spare }: Pick<Ground, "slot" | "spare">) => {
    await host.stop({ ...row, slot: slot.index })
    if (spare !== undefined) await host.removeDirectoryOf(spare.process.id)
  }

  /** From here on the guest runs: first thaw, then its application. */
  const run = async (live: LiveVm, row: VmRow, signal: AbortSignal) => {
    // What it is told meanwhile is the first that it does.
    await Promise.all([live.vm.continue(), live.guest.thaw(toThawInput(host, live, hostnameOf(row.id)), signal)])
  }

  return {
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
      if (remains !== undefined && delta !== undefined) {
        await copyFile(remains.overlay, overlay, constants.COPYFILE_FICLONE)
        await copyFile(remains.delta.state, delta.state)
      }
      const ground = await settle(row, base, { overlay, delta }, signal)
      try {
        const loaded = await load(row, base, ground, signal)
        const { live } = loaded
        ;({ row } = loaded)
        failpoint("launch: loaded")
        await storing
        if (processOf(row) === undefined) row = await recordProcess(db, vmId, live.vm.process, false)
        await run(live, row, signal)
        spares?.fillBehind(live, base)
      } catch (error) {
        await stop(row, ground)
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
        await recordSnapshot(db, vmId, row.incarnation)
      }
      failpoint("sleep: delta stored")
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
      await host.stop(row)
      if (!ledger.reserve(vmId, row.memoryMiB)) return false
      const files = vmFiles(host.directoryOf(vmId))
      const delta = files.delta(row.snapshotIncarnation)
      let ground: Ground | undefined
      let live: LiveVm
      let base: Base
      try {
        base = await baseOf(row)
        ground = await settle(row, base, { overlay: files.overlay(row.diskGeneration), delta }, signal)
        ;({ live, row } = await load(row, base, ground, signal))
        failpoint("wake: loaded")
        await storing
        row = await recordProcess(db, vmId, live.vm.process, true)
      } catch (error) {
        log.warn({ vmId, err: error }, "A VM could not be woken; it still sleeps")
        await (ground === undefined ? host.stop(row) : stop(row, ground))
        return false
      }
      failpoint("wake: consumed")
      // Consumed, it is of no use to anybody.
      await Promise.all([run(live, row, signal), ...[delta.file, delta.state].map((file) => rm(file, { force: true }))])
      spares?.fillBehind(live, base)
      return true
    },

    async watch(vmId, signal) {
      const live = await host.find(await findVm(db, vmId), signal)
      if (live === undefined)
        return { cause: "host", reason: "The virtual machine's process ended while the daemon was down." }
      return unlessAborted(live.ended, signal)
    },

    end: (vmId) =>
      host.end(vmId).catch((error: unknown) => {
        log.error({ vmId, err: error }, "Not all of a VM could be removed; the next start does it")
        throw error
      }),
  }
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
