/** {@link Vmm} with QEMU's `microvm` machine. The order of every step is from shared measurements: one wrong and the guest hangs. */
import { createHash } from "node:crypto"
import { existsSync } from "node:fs"
import { isDeepStrictEqual } from "node:util"
import { cpuOf } from "./command-line.ts"
import { detectCgroups } from "./cgroup.ts"
import { openDelta } from "./delta.ts"
import { DEVICE_LAYOUT } from "./devices.ts"
import { openInstalledQemu, toStartFailure, verifyQemu, type QemuBuild } from "./kept-qemu.ts"
import { baseFiles, openManifest, SnapshotRefused, verifyBase, type Machine, type Manifest } from "./manifest.ts"
import { copyMemory, loadGuest, refuseStrangers } from "./load.ts"
import { openMemoryMap, PAGE_BYTES } from "./memory-map.ts"
import { findProcesses, isAlive, killProcess } from "./process.ts"
import { openQmp } from "./qmp.ts"
import { createQemuProcesses, giveTo, type ProcessPlace, type Started } from "./qemu-processes.ts"
import { createQemuVm, type QemuVmParts } from "./qemu-vm.ts"
import { createSpares } from "./spare.ts"
import type { DriveFile, LaunchSpec, Vm, Vmm, VmSize, VmSpec } from "./vmm.ts"
import { createWorkingSets, fetchRead, fetchWritten } from "./working-sets.ts"
import { removeUnused } from "./unused-directory.ts"

export interface QemuOptions extends ProcessPlace {
  /** Where the QEMU that boots is kept: on the file system of the bases, and this daemon's alone. */
  readonly qemuDirectory: string
  /** The installed QEMU; the one on this host's PATH where none is named. */
  readonly executable?: string
  readonly tscKHz: number
  /** Of the kernel that boots. */
  readonly kernelHash: string
  /** Behind every drive that isn't used. */
  readonly emptyDrive: string
}

/** What a base and this machine must agree on. */
const machineOf = (options: QemuOptions, { memoryMiB, vcpus }: VmSize): Machine => ({
  accelerator: options.accelerator,
  cpu: cpuOf(options.accelerator),
  architecture: "x86_64",
  tscKHz: options.tscKHz,
  deviceLayout: DEVICE_LAYOUT,
  memoryMiB,
  vcpus,
})

/**
 * `psi=0`: nobody reads the pressure statistics, and counting them is a part of every switch between processes.
 * `lsm=landlock`: of the security modules only the one that needs nobody's policy; the others would be asked in every call, and know none.
 * `init_on_free=1`: what is free is zero, so that a base holds no more than is in use, and nothing of what has ended.
 */
const bootParameters = (tscKHz: number) =>
  `console=ttyS0 quiet reboot=t panic=-1 tsc=reliable tsc_early_khz=${tscKHz} nowatchdog no_timer_check psi=0 lsm=landlock init_on_free=1`

/** A guest that was booted otherwise is another guest. */
const kernelHashOf = ({ kernelHash, tscKHz }: QemuOptions) =>
  createHash("sha256")
    .update(`${kernelHash} ${bootParameters(tscKHz)}`)
    .digest("hex")

/** A guest that is to be loaded, and not booted. */
const LOADED = ["-S", "-incoming", "defer", "-global", "migration.send-configuration=off"]

/** Guest memory that is shared with all VMs of a base until it is written. */
const sharedMemory = ({ memoryMiB }: VmSize, ram: string) =>
  `memory-backend-file,id=mem,size=${memoryMiB}M,mem-path=${ram},share=off,readonly=on,rom=off`

const ownMemory = ({ memoryMiB }: VmSize, file: string) =>
  `memory-backend-file,id=mem,size=${memoryMiB}M,mem-path=${file},share=on`

/** A VMM on this host; it holds nothing itself. */
export const createQemuVmm = async (options: QemuOptions): Promise<Vmm> => {
  const cgroups = await detectCgroups(options.hostId)
  const processes = createQemuProcesses(options, cgroups)
  const workingSets = createWorkingSets()
  const spares = createSpares(processes)
  const installedQemu = openInstalledQemu(options.qemuDirectory, options.executable)
  const drivesOf = ({
    systemDisk,
    rootDisk,
    extraDrives,
  }: Pick<LaunchSpec, "systemDisk" | "rootDisk" | "extraDrives">) => ({
    systemDisk,
    rootDisk,
    extraDrives,
    emptyDrive: options.emptyDrive,
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

  /** Of a base, and as it says itself. */
  const verified = async (spec: Pick<LaunchSpec, "base" | "memoryMiB" | "vcpus">) => {
    const manifest = await verifyBase(spec.base, machineOf(options, spec))
    const files = baseFiles(spec.base)
    await verifyQemu(files.qemu, manifest.qemu)
    return { manifest, files, qemu: { ...manifest.qemu, directory: files.qemu } }
  }

  const touchedOf = ({ base, memoryMiB }: Pick<LaunchSpec, "base" | "memoryMiB">) =>
    workingSets.of(base, (memoryMiB * 1024 ** 2) / PAGE_BYTES)

  const memoryOf = (process: Started["process"], ram: string, { memoryMiB }: VmSize) =>
    openMemoryMap(process.pid, ram, memoryMiB * 1024 ** 2, true)

  const launch = async (spec: LaunchSpec, signal: AbortSignal): Promise<Vm> => {
    const { manifest, files, qemu } = await verified(spec)
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
    const started = await (spec.spare === undefined ? start() : spares.take(spec.spare, spec)).catch(failure(manifest))
    try {
      if (spec.spare?.isLoaded !== true)
        await loadGuest(
          {
            qmp: started.qmp,
            openMemory: () => memoryOf(started.process, files.ram, spec),
            delta,
            // What stood ready has it.
            touched: (spec.memoryFile ?? spec.spare) ? undefined : await touchedOf(spec),
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
          more: ["-kernel", spec.kernel, "-initrd", spec.initramfs, "-append", bootParameters(options.tscKHz)],
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

    async prepare(spec, signal) {
      const { manifest, files, qemu } = await verified(spec)
      const started = await processes
        .start(
          {
            ...spec,
            qemu,
            drives: drivesOf({ ...spec, rootDisk: [...spec.rootDisk, spec.overlay] }),
            memory: sharedMemory(spec, files.ram),
            readOnly: [files.ram, files.state],
            more: LOADED,
          },
          signal,
        )
        .catch(failure(manifest))
      try {
        const touched = await touchedOf(spec)
        if (touched !== undefined) {
          await using memory = await memoryOf(started.process, files.ram, spec)
          await fetchWritten(memory, touched)
          await fetchRead(memory, touched)
        }
        return spares.hold(spec, started)
      } catch (error) {
        await processes.abandon(spec.id, started.jailed)
        throw error
      }
    },

    async rehearse(spare, run, signal) {
      const { spec } = spare
      const { manifest, files } = await verified(spec)
      const { process, qmp, jailed } = spares.load(spare)
      const openMemory = () => memoryOf(process, files.ram, spec)
      await loadGuest({ qmp, openMemory, delta: undefined, touched: undefined, state: files.state }, signal)
      const ram = { path: files.ram, base: { ...spec.base, id: manifest.id } }
      await run(vmOf({ ...spec, vmId: spec.id }, { process, qmp, jailed }, ram))
      await using memory = await openMemory()
      const pages = (await memory.changed()).reduce((sum, { count }) => sum + count, 0)
      return Math.ceil((pages * PAGE_BYTES) / 1024 ** 2)
    },

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

    async close() {
      await Promise.all([cgroups.close(), removeUnused(options.runDirectory)])
    },
  }
}

const failure =
  ({ qemu }: Manifest) =>
  (error: unknown): never => {
    throw toStartFailure(qemu, error)
  }
