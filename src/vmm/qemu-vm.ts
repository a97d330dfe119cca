/** One live QEMU process as a {@link Vm}. */
import { chmod, mkdir, open, rename, rm, stat, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { runCommand } from "../command.ts"
import { writeDelta } from "./memory/delta.ts"
import { blockNode, rootNode } from "./process/devices.ts"
import { changeDrives, lowestChange } from "./qmp/drive-change.ts"
import type { Jailed } from "./process/jail.ts"
import { baseFiles, MANIFEST_FORMAT, digestOf, trustRam, type Machine, type Manifest } from "./manifest.ts"
import { linkQemu, type QemuBuild } from "./kept-qemu.ts"
import { openBaseMemory, openMemoryMap, PAGE_BYTES } from "./memory/memory-map.ts"
import { killProcess } from "./process/process.ts"
import { runJob } from "./qmp/job.ts"
import type { Qmp } from "./qmp/qmp.ts"
import { untilQuiet } from "./qmp/quiet.ts"
import type { WorkingSets } from "./memory/working-sets.ts"
import type { BasePaths, BaseSizes, DriveFile, Vm, VmExit, VmProcess, VmSpec } from "./vmm.ts"

export interface QemuVmParts {
  readonly spec: VmSpec
  readonly process: VmProcess
  readonly qmp: Qmp
  /** `undefined` when another daemon started the process. */
  readonly jailed: Jailed | undefined
  /** The file behind the guest's memory, and the base it is of; no base: the guest was booted and the file is its own. */
  readonly ram: { readonly path: string; readonly base: (BasePaths & { readonly id: string }) | undefined }
  readonly ports: Vm["ports"]
  readonly machine: Machine
  /** Of a guest whose memory is a file of its own, what a base that is made of it says, and the root disk's files, bottom first. */
  readonly own: Own | undefined
  readonly giveWay: Vm["giveWay"]
  readonly workingSets: WorkingSets
  /** Removes what the process had on this host. */
  readonly tidy: () => Promise<void>
}

/** Two gigabytes take a second. */
const DIG_TIMEOUT_MS = 300_000

/** What a guest has written that sleeps soon after its beginning. */
const EARLY_PAGES = 1024

interface Own {
  readonly qemu: QemuBuild
  readonly kernelHash: string
  readonly rootDisk: readonly DriveFile[]
}

/** The VM of a process whose control channel is open. */
export const createQemuVm = (parts: QemuVmParts): Vm => {
  const { spec, process, qmp, jailed, ram, ports } = parts
  let byGuest = false
  let tidied = false
  const rootDisk = (parts.own?.rootDisk ?? []).map((file, index): DiskNode => ({ node: rootNode(index), file }))
  let rootNodes = rootDisk.length - 1
  qmp.on("event", (name, data) => {
    if (name === "SHUTDOWN" && data["guest"] === true) byGuest = true
  })

  const exited = (async (): Promise<VmExit> => {
    // QEMU closes its sockets when it dies: for a process of another daemon that is the only sign.
    await new Promise<void>((resolve) => (qmp.closed ? resolve() : qmp.once("close", () => resolve())))
    // One that can't be told anything any more is ended.
    if (qmp.failure !== undefined) await killProcess(process)
    const end = await jailed?.ended
    const reason =
      qmp.failure?.message ||
      jailed?.words() ||
      (end === undefined ? "it ended" : `it ended with ${end.signal ?? end.code}`)
    return { byGuest, reason }
  })()

  /** QEMU writes it under its own uid, in the one directory it may write to. */
  const saveDevices = async (to: string) => {
    const own = join(spec.directory, "devices")
    await rm(own, { force: true })
    await qmp.execute("xen-save-devices-state", { filename: own, live: false })
    await chmod(own, 0o600)
    await rename(own, to)
  }

  return {
    process,
    spec,
    ports,
    exited,
    pause: async () => void (await qmp.execute("stop")),
    continue: async () => void (await qmp.execute("cont")),
    async status() {
      const { running } = await qmp.execute<{ running: boolean }>("query-status")
      return running ? "running" : "paused"
    },
    giveWay: parts.giveWay,
    untilQuiet: (signal) => untilQuiet(process.pid, signal),
    async sealRootDisk(next) {
      const [below, sealed] = [rootDisk.at(-2), topOf(rootDisk)]
      const top = { node: rootNode(++rootNodes), file: next }
      await qmp.execute("blockdev-add", blockNode(top.node, next, false, null))
      await qmp.execute("blockdev-snapshot", { node: sealed.node, overlay: top.node })
      rootDisk.push(top)
      // Said explicitly: a later snapshot would open it for writing again, and by then it isn't ours to write.
      await qmp.execute("blockdev-reopen", {
        options: [blockNode(sealed.node, sealed.file, true, below?.node ?? null)],
      })
    },
    async mergeRootDisk(signal) {
      const [ground, top] = [rootDisk[0], topOf(rootDisk)]
      if (ground === undefined || rootDisk.length < 3) return
      await runJob(qmp, "block-stream", { device: top.node, "base-node": ground.node }, signal)
      // From the top down: each is in use by the one above it.
      for (const { node } of rootDisk.splice(1, rootDisk.length - 2).toReversed())
        await qmp.execute("blockdev-del", { "node-name": node })
    },
    swapDrive: (drive, path) => changeDrives(qmp, [lowestChange(drive, path)]),
    async saveBase(base, id) {
      const { own } = parts
      if (own === undefined) throw new Error("Only a guest with a memory file can become a base")
      await mkdir(base.directory, { recursive: true, mode: 0o700 })
      await saveDevices(baseFiles(base).state)
      return sealBase(base, id, parts, own)
    },
    async noteTouched() {
      if (ram.base === undefined) throw new Error("Nobody begins as a guest without a base has begun")
      const touched = async () => {
        await using memory = await openMemoryMap(process.pid, ram.path, spec.memoryMiB * 1024 ** 2, false)
        return await memory.touched()
      }
      await parts.workingSets.learn(ram.base, { touched }, Infinity)
    },
    async saveDelta(target) {
      if (ram.base === undefined) throw new Error("A guest without a base has no delta")
      await saveDevices(target.state)
      const memoryBytes = spec.memoryMiB * 1024 ** 2
      await using memory = await openMemoryMap(process.pid, ram.path, memoryBytes, false)
      // Of one that has done more an answer is the smaller part.
      await parts.workingSets.learn(ram.base, memory, EARLY_PAGES)
      await using before = await openBaseMemory(ram.path)
      return await writeDelta(memory, before, target, {
        vmId: spec.vmId,
        baseId: ram.base.id,
        incarnation: target.incarnation,
        memoryPages: memoryBytes / PAGE_BYTES,
      })
    },
    console: () => qmp.execute<string>("ringbuf-read", { device: "console", size: 16384 }),
    async kill() {
      await killProcess(process)
      qmp.close()
      await jailed?.ended
      // Once: by the second time the VM may have another process, and what was this one's is its.
      if (tidied) return
      await parts.tidy()
      tidied = true
    },
  }
}

interface DiskNode {
  readonly node: string
  readonly file: DriveFile
}

const topOf = (disk: readonly DiskNode[]): DiskNode => {
  const top = disk.at(-1)
  if (top === undefined) throw new Error("Only the root disk of a guest with a memory file can be sealed")
  return top
}

/** Memory file, manifest and directory on disk for good: the guest must not run again. */
const sealBase = async (
  base: BasePaths,
  id: string,
  { ram, machine }: QemuVmParts,
  { qemu, kernelHash }: Own,
): Promise<BaseSizes> => {
  const files = baseFiles(base)
  await linkQemu(qemu, files.qemu)
  await rename(ram.path, files.ram)
  // Pages of zeros need no blocks.
  await runCommand("fallocate", ["--dig-holes", files.ram], { signal: AbortSignal.timeout(DIG_TIMEOUT_MS) })
  await Promise.all([files.ram, files.state].map((file) => chmod(file, 0o444)))
  const [memory, state] = await Promise.all([stat(files.ram), stat(files.state)])
  const manifest: Manifest = {
    format: MANIFEST_FORMAT,
    id,
    machine,
    qemu: { version: qemu.version, files: qemu.files },
    kernelHash,
    ram: { bytes: memory.size, sha256: await digestOf(files.ram) },
    state: { bytes: state.size, sha256: await digestOf(files.state) },
  }
  await writeFile(files.manifest, JSON.stringify(manifest, undefined, 2), { mode: 0o444 })
  for (const path of [files.ram, files.state, files.manifest, base.directory]) {
    await using handle = await open(path, "r")
    await handle.sync()
  }
  await trustRam(base, manifest.ram)
  return { memoryBytes: memory.blocks * 512, stateBytes: state.size }
}
