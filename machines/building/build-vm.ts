/**
 * The VM of a build. It has several lives, each launched from the boot snapshot of its size with the disks that it is given: one after
 * the other for the steps, and the last for the application, which so starts in a memory that no step has ever seen.
 */
import { randomBytes } from "node:crypto"
import { rm } from "node:fs/promises"
import { join } from "node:path"
import type { Artifacts } from "../../images/artifacts.ts"
import { createAgentClient, type AgentClient } from "../../src/agent/client.ts"
import type { Ledger } from "../../src/capacity/ledger.ts"
import { GUEST, type Slot } from "../../src/net/slot.ts"
import type { Slots } from "../../src/net/slots.ts"
import type { Drive, Vm, Vmm } from "../../src/vmm/vmm.ts"
import { toDriveFile, vmFiles } from "../disks.ts"
import { openGuest } from "../vms/guest.ts"
import { makeVmDirectory, type LiveVm, type VmHost } from "../vm.ts"
import { findVm, recordProcess } from "../vm-row.ts"
import type { BootSnapshots } from "./boot-snapshots.ts"
import { makeEmptyDrives, untilBooted } from "./cold-boot.ts"

/** A life of a build's VM: it runs, and its image's file system is mounted. */
export interface BuildLife {
  readonly live: LiveVm
  readonly agent: AgentClient
}

export interface BuildVm {
  readonly directory: string
  /** The life that it has now. */
  readonly life: BuildLife | undefined
  /** Ends the life before and begins another. The root disk's last file is written. */
  begin(disks: { rootDisk: readonly string[]; drives: readonly Drive[] }, signal: AbortSignal): Promise<BuildLife>
  /** An empty overlay that nobody has had yet, in the VM's directory. */
  newOverlay(): Promise<string>
}

/** What it takes of its host. */
export interface BuildVmHost extends Pick<VmHost, "db" | "directoryOf" | "begin" | "hold" | "stop"> {
  readonly vmm: Pick<Vmm, "boot" | "launch">
  readonly slots: Pick<Slots, "take">
  readonly ledger: Pick<Ledger, "reserve">
}

export interface BuildVmOptions {
  readonly host: BuildVmHost
  readonly artifacts: Pick<Artifacts, "kernel" | "initramfs" | "systemDisk">
  readonly snapshots: BootSnapshots
  readonly createOverlay: (path: string) => Promise<void>
  /** Whether a life of it may become a base: only then has it a copy of the memory to itself. */
  readonly becomesBase: boolean
}

const VCPUS = 1
/** What layout v1 has beside system and root. */
const DRIVES = 4

/** The VM of a row that its owner has made; the owner ends it too. */
export const createBuildVm = async (
  { host, artifacts, snapshots, createOverlay, becomesBase }: BuildVmOptions,
  vmId: string,
  memoryMiB: number,
): Promise<BuildVm> => {
  const { db, vmm, slots, ledger } = host
  const directory = await makeVmDirectory(host, vmId)
  const size = { memoryMiB, vcpus: VCPUS }
  let overlays = 0
  let life: BuildLife | undefined

  const newOverlay = async () => {
    const path = vmFiles(directory).overlay(overlays++)
    await createOverlay(path)
    return path
  }

  /** A boot of nothing but the system disk, up to where its agent waits to be asked. Before each life there may be none again: nothing of it stays here. */
  const makeSnapshot = async (slot: Slot, signal: AbortSignal): Promise<string> => {
    const to = join(directory, "boot")
    const [drivesDirectory, memoryFile] = [join(directory, "boot-drives"), join(directory, "boot-memory")]
    const drives = await makeEmptyDrives(drivesDirectory, DRIVES)
    const vm = await vmm.boot(
      {
        vmId,
        slot,
        directory,
        ...size,
        kernel: artifacts.kernel,
        initramfs: artifacts.initramfs,
        systemDisk: artifacts.systemDisk,
        rootDisk: [toDriveFile(await newOverlay())],
        extraDrives: drives,
        memoryFile,
      },
      signal,
    )
    try {
      await recordProcess(db, vmId, vm.process, false)
      const guest = await openGuest(vm.ports, signal)
      try {
        await untilBooted(vm, guest, signal)
        await vm.untilQuiet(signal)
        await guest.freeze(signal)
      } finally {
        guest.close()
      }
      await vm.pause()
      await vm.saveBase({ directory: to }, vmId)
      return to
    } finally {
      await vm.kill()
      await Promise.all([drivesDirectory, memoryFile].map((path) => rm(path, { recursive: true, force: true })))
    }
  }

  /** What can't be held is ended: no row knows it. */
  const hold = async (vm: Vm, slot: Slot, incarnation: number, signal: AbortSignal): Promise<LiveVm> => {
    try {
      await recordProcess(db, vmId, vm.process, false)
      return await host.hold(vm, slot, incarnation, signal)
    } catch (error) {
      await vm.kill()
      throw error
    }
  }

  return {
    directory,
    newOverlay,
    get life() {
      return life
    },
    async begin({ rootDisk, drives }, signal) {
      life?.agent.close()
      life = undefined
      await host.stop(await findVm(db, vmId))
      if (!ledger.reserve(vmId, memoryMiB))
        throw new Error("There is not enough memory on this host for the build now.")
      const slot = await slots.take(signal)
      const row = await host.begin(vmId, slot)
      const base = await snapshots.of(size, () => makeSnapshot(slot, signal), signal)
      const vm = await vmm.launch(
        {
          vmId,
          slot,
          directory,
          ...size,
          base,
          systemDisk: artifacts.systemDisk,
          rootDisk: rootDisk.map(toDriveFile),
          extraDrives: drives,
          ...(becomesBase ? { memoryFile: join(directory, "memory") } : {}),
        },
        signal,
      )
      const live = await hold(vm, slot, row.incarnation, signal)
      const secret = randomBytes(32)
      const agent = createAgentClient(slot.address, GUEST.agentPort, secret)
      const identity = { hostname: "build", machineId: vmId.replaceAll("-", ""), incarnation: row.incarnation, secret }
      const ready = (async () => {
        await vm.continue()
        await live.guest.thaw(identity, signal)
        await agent.mountDisk(signal)
      })()
      try {
        await Promise.race([ready, died(live)])
      } catch (error) {
        agent.close()
        throw error
      } finally {
        ready.catch(() => {})
      }
      return (life = { live, agent })
    },
  }
}

/** Rejects when the process of a life has ended. */
export const died = async ({ vm }: LiveVm): Promise<never> => {
  const { reason } = await vm.exited
  throw new Error(`The build VM ended: ${reason}`)
}
