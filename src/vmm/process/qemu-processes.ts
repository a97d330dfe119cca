/** Processes of QEMU: each in its jail, with its control groups and its sockets, and nothing of it left where it did not come to be. */
import { chown, rm } from "node:fs/promises"
import { dirname, join } from "node:path"
import { VMM_OVERHEAD_MIB } from "../../capacity/ledger.ts"
import type { Cgroups } from "./cgroup.ts"
import { commandLine } from "./command-line.ts"
import { readOnlyFiles, writtenFiles, type Drives } from "./devices.ts"
import { hugeHeap } from "./heap.ts"
import { spawnJailed, type Jailed } from "./jail.ts"
import { programOf, type QemuBuild } from "../kept-qemu.ts"
import { killProcess, startTimeOf } from "./process.ts"
import { openQmp, type Qmp } from "../qmp/qmp.ts"
import { openListeners, socketPath, type SocketName } from "./sockets.ts"
import type { Accelerator, VmProcess, VmSpec } from "../vmm.ts"

/** What every process has of its host. */
export interface ProcessPlace {
  readonly hostId: string
  readonly accelerator: Accelerator
  /** Short, on a tmpfs: sockets of the processes, by id. */
  readonly runDirectory: string
  /** A device node for /dev/net/tun that a slot's uid may open. */
  readonly tunDevice: string
}

/** What one is started with. */
export interface Order extends Pick<VmSpec, "slot" | "directory" | "memoryMiB" | "vcpus"> {
  readonly id: string
  readonly qemu: QemuBuild
  readonly drives: Drives
  /** QEMU's object for the guest's memory. */
  readonly memory: string
  /** Files that it opens beside its drives. */
  readonly readOnly: readonly string[]
  readonly more: readonly string[]
}

export interface Started {
  readonly jailed: Jailed
  readonly qmp: Qmp
  readonly process: VmProcess
}

export interface QemuProcesses {
  /** Resolves when it answers on its control channel. */
  start(order: Order, signal: AbortSignal): Promise<Started>
  /** Ends one that was started here, maybe in vain. */
  abandon(id: string, jailed: Jailed | undefined): Promise<void>
  /** Where its sockets are. */
  directoryOf(id: string): string
  socketOf(id: string, name: SocketName): string
  giveWay(id: string, does: boolean): Promise<void>
  /** Removes what a process had on this host; it must be gone. */
  tidy(id: string): Promise<void>
}

/** Threads of a VMM: processors, translator, workers of the disks. */
const MAX_PROCESSES = 128

export const createQemuProcesses = (place: ProcessPlace, cgroups: Cgroups): QemuProcesses => {
  const heap = hugeHeap()
  const directoryOf = (id: string) => join(place.runDirectory, id)
  const socketOf = (id: string, name: SocketName) => socketPath(directoryOf(id), name)

  /** Sockets and control groups; what one made is removed when the other fails. */
  const prepare = async ({ id, memoryMiB }: Order) => {
    const making = [
      openListeners(directoryOf(id)),
      cgroups.create(id, { memoryMiB: memoryMiB + 2 * VMM_OVERHEAD_MIB, processes: MAX_PROCESSES }),
    ] as const
    try {
      return await Promise.all(making)
    } catch (error) {
      const [listening] = await Promise.allSettled(making)
      if (listening.status === "fulfilled") listening.value.close()
      await tidy(id)
      throw error
    }
  }

  const abandon = async (id: string, jailed: Jailed | undefined) => {
    const startTime = jailed === undefined ? undefined : await startTimeOf(jailed.pid)
    if (jailed !== undefined && startTime !== undefined) await killProcess({ id, pid: jailed.pid, startTime })
    await jailed?.ended
    await tidy(id)
  }

  const tidy = async (id: string) => {
    await cgroups.remove(id)
    await rm(directoryOf(id), { recursive: true, force: true })
  }

  return {
    async start(order, signal) {
      const { id, slot, directory, qemu, drives } = order
      await giveTo(slot.uid, [directory, ...writtenFiles(drives)])
      const [listeners, groups] = await prepare(order)
      const { program, environment } = programOf(qemu.directory)
      let jailed: Jailed | undefined
      try {
        jailed = await spawnJailed(
          {
            uid: slot.uid,
            namespace: slot.namespace,
            readOnly: [...readOnlyFiles(drives), ...order.readOnly, ...heap.files, qemu.directory],
            writable: [directory],
            devices: [
              ["/dev/null", "/dev/null"],
              ["/dev/urandom", "/dev/urandom"],
              [place.tunDevice, "/dev/net/tun"],
              ...(place.accelerator === "kvm" ? ([["/dev/kvm", "/dev/kvm"]] as const) : []),
            ],
            cgroups: groups,
            environment: { ...environment, ...heap.environment },
          },
          [...program, ...commandLine(place, order, drives, order.memory), ...order.more],
          listeners.servers,
          signal,
        )
        listeners.close()
        const startTime = await startTimeOf(jailed.pid)
        if (startTime === undefined) throw new Error(`QEMU ended at once: ${jailed.words()}`)
        const process = { id, pid: jailed.pid, startTime }
        const qmp = await openQmp(socketOf(id, "qmp"), signal)
        return { jailed, qmp, process }
      } catch (error) {
        listeners.close()
        await abandon(id, jailed)
        signal.throwIfAborted()
        const words = jailed?.words()
        throw words ? new Error(`QEMU did not start: ${words}`, { cause: error }) : error
      }
    },
    abandon,
    directoryOf,
    socketOf,
    giveWay: (id, does) => cgroups.giveWay(id, does),
    tidy,
  }
}

/** A slot's uid changes with every life of a VM; its files follow, and the directories of all but the first. */
export const giveTo = async (uid: number, paths: readonly string[]) => {
  await Promise.all(
    [...new Set([...paths, ...paths.slice(1).map((path) => dirname(path))])].map((path) => chown(path, uid, uid)),
  )
}
