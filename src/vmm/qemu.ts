/** {@link Vmm} with QEMU's `microvm` machine. The order of every step is from shared measurements: one wrong and the guest hangs. */
import { createHash } from "node:crypto"
import { existsSync } from "node:fs"
import { chown, rm } from "node:fs/promises"
import { dirname, join } from "node:path"
import { isDeepStrictEqual } from "node:util"
import { VMM_OVERHEAD_MIB } from "../capacity/ledger.ts"
import { commandLine, cpuOf } from "./command-line.ts"
import { detectCgroups } from "./cgroup.ts"
import { openDelta } from "./delta.ts"
import { DEVICE_LAYOUT, readOnlyFiles, writtenFiles, type Drives } from "./devices.ts"
import { spawnJailed, type Jailed } from "./jail.ts"
import { openInstalledQemu, programOf, toStartFailure, verifyQemu, type QemuBuild } from "./kept-qemu.ts"
import { baseFiles, openManifest, SnapshotRefused, verifyBase, type Machine } from "./manifest.ts"
import { hugeHeap } from "./heap.ts"
import { copyMemory, loadGuest, refuseStrangers } from "./load.ts"
import { openMemoryMap } from "./memory-map.ts"
import { findProcesses, isAlive, killProcess, startTimeOf } from "./process.ts"
import { openQmp, type Qmp } from "./qmp.ts"
import { createQemuVm, type QemuVmParts } from "./qemu-vm.ts"
import { openListeners, socketPath } from "./sockets.ts"
import type { Accelerator, DriveFile, Vm, Vmm, VmProcess, VmSize, VmSpec } from "./vmm.ts"
import { createWorkingSets } from "./working-sets.ts"
import { removeUnused } from "./unused-directory.ts"

export interface QemuOptions {
  readonly hostId: string
  readonly accelerator: Accelerator
  /** Where the QEMU that boots is kept: on the file system of the bases, and this daemon's alone. */
  readonly qemuDirectory: string
  /** The installed QEMU; the one on this host's PATH where none is named. */
  readonly executable?: string
  readonly tscKHz: number
  /** Of the kernel that boots. */
  readonly kernelHash: string
  /** Behind every drive that isn't used. */
  readonly emptyDrive: string
  /** Short, on a tmpfs: sockets of the VMs, by id. */
  readonly runDirectory: string
  /** A device node for /dev/net/tun that a slot's uid may open. */
  readonly tunDevice: string
}

/** Threads of a VMM: processors, translator, workers of the disks. */
const MAX_PROCESSES = 128

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
 * `init_on_free=1`: what is free is zero, so that a base holds no more than is in use, and nothing of what has ended.
 */
const bootParameters = (tscKHz: number) =>
  `console=ttyS0 quiet reboot=t panic=-1 tsc=reliable tsc_early_khz=${tscKHz} nowatchdog no_timer_check psi=0 init_on_free=1`

/** A guest that was booted otherwise is another guest. */
const kernelHashOf = ({ kernelHash, tscKHz }: QemuOptions) =>
  createHash("sha256")
    .update(`${kernelHash} ${bootParameters(tscKHz)}`)
    .digest("hex")

/** A VMM on this host; it holds nothing itself. */
export const createQemuVmm = async (options: QemuOptions): Promise<Vmm> => {
  const cgroups = await detectCgroups(options.hostId)
  const heap = hugeHeap()
  const workingSets = createWorkingSets()
  const installedQemu = openInstalledQemu(options.qemuDirectory, options.executable)
  const run = (vmId: string) => join(options.runDirectory, vmId)

  const start = async (
    spec: VmSpec,
    qemu: QemuBuild,
    drives: Drives,
    memory: { object: string; readOnly: readonly string[] },
    extra: readonly string[],
    signal: AbortSignal,
  ): Promise<{ jailed: Jailed; qmp: Qmp; process: VmProcess }> => {
    await giveTo(spec.slot.uid, [spec.directory, ...writtenFiles(drives)])
    const [listeners, groups] = await prepare(spec)
    const { program, environment } = programOf(qemu.directory)
    let jailed: Jailed | undefined
    try {
      jailed = await spawnJailed(
        {
          uid: spec.slot.uid,
          namespace: spec.slot.namespace,
          readOnly: [...readOnlyFiles(drives), ...memory.readOnly, ...heap.files, qemu.directory],
          writable: [spec.directory],
          devices: [
            ["/dev/null", "/dev/null"],
            ["/dev/urandom", "/dev/urandom"],
            [options.tunDevice, "/dev/net/tun"],
            ...(options.accelerator === "kvm" ? ([["/dev/kvm", "/dev/kvm"]] as const) : []),
          ],
          cgroups: groups,
          environment: { ...environment, ...heap.environment },
        },
        [...program, ...commandLine(options, spec, drives, memory.object), ...extra],
        listeners.servers,
        signal,
      )
      listeners.close()
      const startTime = await startTimeOf(jailed.pid)
      if (startTime === undefined) throw new Error(`QEMU ended at once: ${jailed.words()}`)
      const process = { vmId: spec.vmId, pid: jailed.pid, startTime }
      const qmp = await openQmp(socketPath(run(spec.vmId), "qmp"), signal)
      return { jailed, qmp, process }
    } catch (error) {
      listeners.close()
      await abandon(spec.vmId, jailed)
      signal.throwIfAborted()
      const words = jailed?.words()
      throw words ? new Error(`QEMU did not start: ${words}`, { cause: error }) : error
    }
  }

  /** Sockets and control groups; what one made is removed when the other fails. */
  const prepare = async ({ vmId, memoryMiB }: VmSpec) => {
    const making = [
      openListeners(run(vmId)),
      cgroups.create(vmId, { memoryMiB: memoryMiB + 2 * VMM_OVERHEAD_MIB, processes: MAX_PROCESSES }),
    ] as const
    try {
      return await Promise.all(making)
    } catch (error) {
      const [listening] = await Promise.allSettled(making)
      if (listening.status === "fulfilled") listening.value.close()
      await tidy(vmId)
      throw error
    }
  }

  const abandon = async (vmId: string, jailed: Jailed | undefined) => {
    const startTime = jailed === undefined ? undefined : await startTimeOf(jailed.pid)
    if (jailed !== undefined && startTime !== undefined) await killProcess({ vmId, pid: jailed.pid, startTime })
    await jailed?.ended
    await tidy(vmId)
  }

  const tidy = async (vmId: string) => {
    await cgroups.remove(vmId)
    await rm(run(vmId), { recursive: true, force: true })
  }

  const vmOf = (
    spec: VmSpec,
    process: VmProcess,
    qmp: Qmp,
    jailed: Jailed | undefined,
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
      ports: { thaw: socketPath(run(spec.vmId), "thaw"), agent: socketPath(run(spec.vmId), "agent") },
      machine: machineOf(options, spec),
      workingSets,
      giveWay: (does) => cgroups.giveWay(spec.vmId, does),
      tidy: () => tidy(spec.vmId),
    })

  return {
    accelerator: options.accelerator,

    async boot(spec, signal) {
      const drives = { ...spec, emptyDrive: options.emptyDrive }
      const memory = {
        object: `memory-backend-file,id=mem,size=${spec.memoryMiB}M,mem-path=${spec.memoryFile},share=on`,
        readOnly: [spec.kernel, spec.initramfs],
      }
      const kernel = ["-kernel", spec.kernel, "-initrd", spec.initramfs, "-append", bootParameters(options.tscKHz)]
      const qemu = await installedQemu(signal)
      const { jailed, qmp, process } = await start(spec, qemu, drives, memory, kernel, signal)
      return vmOf(
        spec,
        process,
        qmp,
        jailed,
        { path: spec.memoryFile, baseId: undefined },
        { qemu, kernelHash: kernelHashOf(options), rootDisk: spec.rootDisk },
      )
    },

    async launch(spec, signal) {
      const manifest = await verifyBase(spec.base, machineOf(options, spec))
      const files = baseFiles(spec.base)
      await verifyQemu(files.qemu, manifest.qemu)
      const drives = { ...spec, emptyDrive: options.emptyDrive }
      const qemu = { ...manifest.qemu, directory: files.qemu }
      if (spec.memoryFile !== undefined) await copyMemory(files.ram, spec.memoryFile, spec.slot.uid, signal)
      const memory =
        spec.memoryFile === undefined
          ? {
              object: `memory-backend-file,id=mem,size=${spec.memoryMiB}M,mem-path=${files.ram},share=off,readonly=on,rom=off`,
              readOnly: [files.ram, files.state],
            }
          : {
              object: `memory-backend-file,id=mem,size=${spec.memoryMiB}M,mem-path=${spec.memoryFile},share=on`,
              readOnly: [files.state],
            }
      await using delta = spec.delta === undefined ? undefined : await openDelta(spec.delta)
      if (delta !== undefined && spec.delta !== undefined) {
        await giveTo(spec.slot.uid, [spec.delta.state])
        refuseStrangers(delta.header, { ...spec, ...spec.delta, baseId: manifest.id })
      }
      const started = await startBeside(
        start(
          spec,
          qemu,
          drives,
          memory,
          ["-S", "-incoming", "defer", "-global", "migration.send-configuration=off"],
          signal,
        ).catch((error) => {
          throw toStartFailure(manifest.qemu, error)
        }),
        delta?.verify(),
        ({ jailed }) => abandon(spec.vmId, jailed),
      )
      const { jailed, qmp, process } = started
      try {
        await loadGuest(
          {
            qmp,
            openMemory: () => openMemoryMap(process.pid, files.ram, spec.memoryMiB * 1024 ** 2, true),
            delta,
            touched: spec.memoryFile === undefined ? workingSets.of(manifest.id) : undefined,
            state: spec.delta?.state ?? files.state,
          },
          signal,
        )
      } catch (error) {
        await abandon(spec.vmId, jailed)
        throw error
      }
      return spec.memoryFile === undefined
        ? vmOf(spec, process, qmp, jailed, { path: files.ram, baseId: manifest.id })
        : vmOf(
            spec,
            process,
            qmp,
            jailed,
            { path: spec.memoryFile, baseId: undefined },
            { qemu, kernelHash: manifest.kernelHash, rootDisk: spec.rootDisk },
          )
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
      const qmp = await openQmp(socketPath(run(spec.vmId), "qmp"), signal)
      return vmOf(spec, process, qmp, undefined, { path: baseFiles(base).ram, baseId: manifest.id })
    },

    async destroy(process) {
      await killProcess(process)
      // Another process of the same VM may live, and then what is there is its own.
      if (
        !existsSync(run(process.vmId)) ||
        (await findProcesses(options.hostId)).some(({ vmId }) => vmId === process.vmId)
      )
        return
      await tidy(process.vmId).catch(() => {})
    },

    find: () => findProcesses(options.hostId),

    async close() {
      await Promise.all([cgroups.close(), removeUnused(options.runDirectory)])
    },
  }
}

/** Resolves with the process when both went well; a process that came up beside a failure is ended before this rejects. */
const startBeside = async <Started>(
  start: Promise<Started>,
  beside: Promise<void> | undefined,
  end: (started: Started) => Promise<void>,
): Promise<Started> => {
  const [started, other] = await Promise.allSettled([start, beside])
  if (started.status === "rejected") throw started.reason
  if (other.status === "fulfilled") return started.value
  await end(started.value)
  throw other.reason
}

/** A slot's uid changes with every life of a VM; its files follow. */
const giveTo = async (uid: number, paths: readonly string[]) => {
  await Promise.all(
    [...new Set([...paths, ...paths.slice(1).map((path) => dirname(path))])].map((path) => chown(path, uid, uid)),
  )
}
