/** {@link Vmm} with QEMU's `microvm` machine. The order of every step is from shared measurements: one wrong and the guest hangs. */
import { existsSync } from "node:fs"
import { isDeepStrictEqual } from "node:util"
import { detectCgroups } from "./process/cgroup.ts"
import { openDelta } from "./memory/delta.ts"
import { failStart, openInstalledQemu, type QemuBuild } from "./kept-qemu.ts"
import { verifyLoadable } from "./loadable-base.ts"
import {
  bootParameters,
  kernelHashOf,
  LOADED,
  machineOf,
  ownMemory,
  sharedMemory,
  type HostMachine,
} from "./machine.ts"
import { baseFiles, openManifest, SnapshotRefused, verifyBase } from "./manifest.ts"
import { copyMemory, loadGuest, refuseStrangers } from "./load.ts"
import { createPreparing, type PreparingOptions } from "./preparing.ts"
import { findProcesses, isAlive, killProcess } from "./process/process.ts"
import { openQmp } from "./qmp/qmp.ts"
import { createQemuProcesses, giveTo, type ProcessPlace, type Started } from "./process/qemu-processes.ts"
import { createQemuVm, type QemuVmParts } from "./qemu-vm.ts"
import { createHeldSpares } from "./held-spares.ts"
import type { DriveFile, LaunchSpec, Vm, Vmm, VmSpec } from "./vmm.ts"
import { createWorkingSets } from "./memory/working-sets.ts"
import { namesIn, removeUnused } from "./process/unused-directory.ts"

export interface QemuOptions extends ProcessPlace, HostMachine {
  /** Where the QEMU that boots is kept: on the file system of the bases, and this daemon's alone. */
  readonly qemuDirectory: string
  /** The installed QEMU; the one on this host's PATH where none is named. */
  readonly executable?: string
  /** Behind every drive that isn't used. */
  readonly emptyDrive: string
}

/** A VMM on this host; it holds nothing itself. */
export const createQemuVmm = async (options: QemuOptions): Promise<Vmm> => {
  const cgroups = await detectCgroups(options.hostId)
  const processes = createQemuProcesses(options, cgroups)
  const workingSets = createWorkingSets()
  const spares = createHeldSpares(processes)
  const installedQemu = openInstalledQemu(options.qemuDirectory, options.executable)
  const { emptyDrive } = options
  const drivesOf: PreparingOptions["drivesOf"] = ({ systemDisk, rootDisk, extraDrives }) => ({
    systemDisk,
    rootDisk,
    extraDrives,
    emptyDrive,
  })

  const vmOf = (
    spec: VmSpec,
    { process, qmp, jailed }: Pick<Started, "process" | "qmp"> & { jailed: Started["jailed"] | undefined },
    ram: QemuVmParts["ram"],
    own?: { readonly qemu: QemuBuild; readonly kernelHash: string; readonly rootDisk: readonly DriveFile[] },
  ): Vm =>
    createQemuVm({
      spec,
      process,
      qmp,
      jailed,
      ram,
      own,
      ports: { thaw: processes.socketOf(process.id, "thaw"), agent: processes.socketOf(process.id, "agent") },
      machine: machineOf(options, spec),
      workingSets,
      giveWay: (does) => processes.giveWay(process.id, does),
      tidy: () => processes.tidy(process.id),
    })

  const verify: PreparingOptions["verify"] = (spec) => verifyLoadable(spec.base, machineOf(options, spec), workingSets)

  const launch = async (spec: LaunchSpec, signal: AbortSignal): Promise<Vm> => {
    const { manifest, files, qemu, ...base } = await verify(spec)
    if (spec.memoryFile !== undefined) await copyMemory(files.ram, spec.memoryFile, spec.slot.uid, signal)
    await using delta = spec.delta === undefined ? undefined : await openDelta(spec.delta)
    if (delta !== undefined && spec.delta !== undefined) {
      await giveTo(spec.slot.uid, [spec.delta.state])
      refuseStrangers(delta.header, { ...spec, ...spec.delta, baseId: manifest.id })
    }
    const start = () =>
      processes.start(
        {
          ...spec,
          id: spec.vmId,
          qemu,
          drives: drivesOf(spec),
          memory: spec.memoryFile === undefined ? sharedMemory(spec, files.ram) : ownMemory(spec, spec.memoryFile),
          readOnly: [...(spec.memoryFile === undefined ? [files.ram] : []), files.state],
          more: LOADED,
        },
        signal,
      )
    const started = await (spec.spare === undefined ? start() : spares.take(spec.spare, spec)).catch(failStart(qemu))
    try {
      if (spec.spare?.isLoaded !== true)
        await loadGuest(
          {
            qmp: started.qmp,
            openMemory: () => base.openMemory(started.process),
            delta,
            // What stood ready has it.
            touched: (spec.memoryFile ?? spec.spare) ? undefined : await base.touched(),
            state: spec.delta?.state ?? files.state,
          },
          signal,
        )
    } catch (error) {
      await processes.abandon(started.process.id, started.jailed)
      throw error
    }
    return spec.memoryFile === undefined
      ? vmOf(spec, started, { path: files.ram, base: { ...spec.base, id: manifest.id } })
      : vmOf(
          spec,
          started,
          { path: spec.memoryFile, base: undefined },
          { qemu, kernelHash: manifest.kernelHash, rootDisk: spec.rootDisk },
        )
  }

  return {
    accelerator: options.accelerator,

    async boot(spec, signal) {
      const qemu = await installedQemu(signal)
      const started = await processes.start(
        {
          ...spec,
          id: spec.vmId,
          qemu,
          drives: drivesOf(spec),
          memory: ownMemory(spec, spec.memoryFile),
          readOnly: [spec.kernel, spec.initramfs],
          more: ["-kernel", spec.kernel, "-initrd", spec.initramfs, "-append", bootParameters(options)],
        },
        signal,
      )
      return vmOf(
        spec,
        started,
        { path: spec.memoryFile, base: undefined },
        { qemu, kernelHash: kernelHashOf(options), rootDisk: spec.rootDisk },
      )
    },

    async launch(spec, signal) {
      try {
        return await launch(spec, signal)
      } catch (error) {
        await spec.spare?.kill()
        throw error
      }
    },

    ...createPreparing({ processes, spares, verify, drivesOf, vmOf }),

    async isCurrent(base, size, signal) {
      const manifest = await verifyBase(base, machineOf(options, size)).catch((error: unknown) => {
        if (error instanceof SnapshotRefused) return undefined
        throw error
      })
      if (manifest?.kernelHash !== kernelHashOf(options)) return false
      const { files } = await installedQemu(signal)
      return isDeepStrictEqual(manifest.qemu.files, files)
    },

    async adopt(process, { base, ...spec }, signal) {
      if (!(await isAlive(process))) return undefined
      // It runs already, maybe by a QEMU that has been replaced since: whether its base can be loaded here is asked when it wakes.
      const manifest = await openManifest(base)
      const qmp = await openQmp(processes.socketOf(process.id, "qmp"), signal)
      return vmOf(
        spec,
        { process, qmp, jailed: undefined },
        { path: baseFiles(base).ram, base: { ...base, id: manifest.id } },
      )
    },

    async destroy(process) {
      await killProcess(process)
      // Another process of the same VM may live, and then what is there is its own.
      if (
        !existsSync(processes.directoryOf(process.id)) ||
        (await findProcesses(options.hostId)).some(({ id }) => id === process.id)
      )
        return
      await processes.tidy(process.id)
    },

    find: () => findProcesses(options.hostId),

    async sweep(keep) {
      const left = [...(await namesIn(options.runDirectory)), ...(await cgroups.list())]
      for (const id of new Set(left)) if (!keep.has(id)) await processes.tidy(id)
    },

    async close() {
      await Promise.all([cgroups.close(), removeUnused(options.runDirectory)])
    },
  }
}
