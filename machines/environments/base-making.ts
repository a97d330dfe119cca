/** Making a runtime's base: a VM that boots with the runtime's disks, is brought to where environments begin, and becomes files. */
import { randomBytes, randomUUID } from "node:crypto"
import { chmod, chown, mkdir, rename } from "node:fs/promises"
import { dirname, join } from "node:path"
import type { Artifacts } from "../../images/artifacts.ts"
import type { RuntimeName } from "../../images/runtimes/runtimes.ts"
import { createAgentClient, type AgentClient } from "../../src/agent/client.ts"
import { vms } from "../../src/db/schema.ts"
import { GUEST } from "../../src/net/slot.ts"
import { makeEmptyDrives, untilBooted } from "../building/cold-boot.ts"
import { toDriveFile, vmFiles } from "../disks.ts"
import { FUNCTION_DRIVES } from "../functions/disks/function-disks.ts"
import { openGuest, type Guest } from "../guest.ts"
import { makeVmDirectory, type VmHost } from "../vm.ts"
import { beginIncarnation, recordProcess } from "../vm-row.ts"
import { HostFull } from "./environments.ts"
import { trainRuntime } from "./training.ts"

export const VCPUS = 1

/** The disks of a runtime: raw files. */
export interface BaseGround {
  readonly rootDisk: string
  readonly runtimeDisk: string
}

export interface MadeBase {
  /** Its root disk's files, bottom first. */
  readonly rootDisk: readonly string[]
  readonly memoryBytes: number
}

export interface BaseToMake {
  readonly id: string
  readonly runtime: RuntimeName
  /** Of its VMs. */
  readonly memoryMiB: number
  readonly ground: BaseGround
  readonly directory: string
}

export interface BaseMakingOptions {
  readonly host: VmHost
  readonly artifacts: Pick<Artifacts, "kernel" | "initramfs" | "systemDisk">
  readonly createOverlay: (path: string) => Promise<void>
}

/** Makes one in `directory`, which is new. Its VM is over when this settles, and has a row while there is anything of it. */
export const makeRuntimeBase = async (
  { host, artifacts, createOverlay }: BaseMakingOptions,
  { id, runtime, memoryMiB, ground, directory }: BaseToMake,
  signal: AbortSignal,
): Promise<MadeBase> => {
  const { db, hostId, vmm, slots, ledger } = host
  const vmId = randomUUID()
  // As a build's: what an ended daemon left of it has no owner, and goes at the next start.
  await db.insert(vms).values({ id: vmId, hostId, kind: "build", memoryMiB, vcpus: VCPUS })
  try {
    if (!ledger.reserve(vmId, memoryMiB))
      throw new HostFull("There is no memory left on this host for a runtime's base.")
    const slot = await slots.take(signal)
    await beginIncarnation(db, vmId, slot.index).catch(async (error: unknown) => {
      await slots.release(slot)
      throw error
    })
    const own = await makeVmDirectory(host, vmId)
    const overlay = vmFiles(own).overlay(0)
    await createOverlay(overlay)
    const drives = await makeEmptyDrives(join(own, "drives"), Object.keys(FUNCTION_DRIVES).length)
    drives[FUNCTION_DRIVES.runtime] = { chain: [{ path: ground.runtimeDisk, format: "raw" }], readOnly: true }
    const vm = await vmm.boot(
      {
        vmId,
        slot,
        directory: own,
        memoryMiB,
        vcpus: VCPUS,
        kernel: artifacts.kernel,
        initramfs: artifacts.initramfs,
        systemDisk: artifacts.systemDisk,
        rootDisk: [ground.rootDisk, overlay].map(toDriveFile),
        extraDrives: drives,
        memoryFile: join(own, "memory"),
      },
      signal,
    )
    await recordProcess(db, vmId, vm.process, false)
    const guest = await openGuest(vm.ports, signal)
    try {
      await untilBooted(vm, guest, signal)
      const ready = prepareGuest(host, guest, runtime, slot.address, signal)
      await Promise.race([ready, vm.exited.then(({ reason }) => Promise.reject(new Error(reason)))])
      await vm.untilQuiet(signal)
      await guest.freeze(signal)
    } finally {
      guest.close()
    }
    await vm.pause()
    await mkdir(dirname(directory), { recursive: true, mode: 0o700 })
    const { memoryBytes } = await vm.saveBase({ directory }, id)
    await vm.kill()
    const top = join(directory, "root.qcow2")
    await chown(overlay, 0, 0)
    await chmod(overlay, 0o444)
    await rename(overlay, top)
    return { rootDisk: [ground.rootDisk, top], memoryBytes }
  } finally {
    await host.end(vmId)
  }
}

/** The image's disk and the runtime's are there, nothing is left of the start, and a runtime waits. */
const prepareGuest = async (
  { log }: VmHost,
  guest: Guest,
  runtime: RuntimeName,
  address: string,
  signal: AbortSignal,
): Promise<void> => {
  const secret = randomBytes(32)
  await guest.thaw({ hostname: "base", machineId: "0".repeat(32), incarnation: 1, secret }, signal)
  const agent: AgentClient = createAgentClient(address, GUEST.agentPort, secret)
  try {
    await agent.mountDisk(signal)
    await agent.mountDrive({ drive: FUNCTION_DRIVES.runtime, isReadOnly: true }, signal)
    await agent.settle(signal)
    await trainRuntime(agent, runtime, signal).catch((error: unknown) => {
      signal.throwIfAborted()
      log.warn({ err: error, runtime }, "A runtime could not be trained: its functions start it themselves")
    })
  } finally {
    agent.close()
  }
}
