/** Making a runtime's base: a VM with the runtime's disks is brought to where environments begin, and becomes files. */
import { randomUUID } from "node:crypto"
import { mkdir, readdir, stat } from "node:fs/promises"
import { extname, join, relative } from "node:path"
import { vms } from "../../src/db/schema.ts"
import type { Drive } from "../../src/vmm/vmm.ts"
import { linkOrCopy } from "../../src/link-or-copy.ts"
import { createBuildVm, died, type BuildLife, type BuildVmOptions } from "../building/build-vm.ts"
import { captureBase, TOP } from "../building/capture.ts"
import { FUNCTION_DRIVES } from "../functions/disks/function-disks.ts"
import type { VmHost } from "../vm.ts"
import { HostFull } from "./environments.ts"
import { trainRuntime, type Trained } from "./training.ts"

export const VCPUS = 1

/** The disks of a runtime: raw files, but for its layers. */
export interface BaseGround {
  readonly rootDisk: string
  /** What an image has over it, bottom first: files that are the image's, to which a base has names of its own. */
  readonly layers?: readonly string[]
  readonly runtimeDisk: string
}

export interface MadeBase {
  /** Its root disk's files, bottom first. */
  readonly rootDisk: readonly string[]
  readonly memoryBytes: number
}

export interface BaseToMake {
  readonly id: string
  readonly runtime: string
  /** Of its VMs. */
  readonly memoryMiB: number
  readonly ground: BaseGround
  /** Equal for bases that would be made alike. */
  readonly madeOf: string
  readonly directory: string
}

export interface BaseMakingOptions extends Omit<BuildVmOptions, "host" | "becomesBase"> {
  readonly host: VmHost
}

/** Makes one in `directory`, which is new. Its VM is over when this settles, and has a row while there is anything of it. */
export const makeRuntimeBase = async (
  options: BaseMakingOptions,
  { id, runtime, memoryMiB, ground, directory }: BaseToMake,
  signal: AbortSignal,
): Promise<MadeBase> => {
  const { host } = options
  const { db, hostId, ledger } = host
  const vmId = randomUUID()
  // As a build's: what an ended daemon left of it has no owner, and goes at the next start.
  await db.insert(vms).values({ id: vmId, hostId, kind: "build", memoryMiB, vcpus: VCPUS })
  try {
    if (!ledger.reserve(vmId, memoryMiB))
      throw new HostFull("There is no memory left on this host for a runtime's base.")
    const buildVm = await createBuildVm({ ...options, becomesBase: true }, vmId, memoryMiB)
    const overlay = await buildVm.newOverlay()
    const runtimeDrive = { chain: [{ path: ground.runtimeDisk, format: "raw" as const }], readOnly: true }
    const drives: Drive[] = []
    // Its functions of training are on it.
    drives[FUNCTION_DRIVES.runtime] = drives[FUNCTION_DRIVES.code] = runtimeDrive
    const layers = ground.layers ?? []
    const life = await buildVm.begin({ rootDisk: [ground.rootDisk, ...layers, overlay], drives }, signal)
    await Promise.race([prepareGuest(host, life, { runtime, memoryMiB }, signal), died(life.live)])
    const { memoryBytes, top } = await captureBase(life, { id, directory, overlay }, signal)
    const kept = layers.map((path, index) => join(directory, `layer-${index}${extname(path)}`))
    await Promise.all(layers.map((path, index) => linkOrCopy(path, kept[index] ?? "")))
    return { rootDisk: [ground.rootDisk, ...kept, top], memoryBytes }
  } finally {
    await host.end(vmId)
  }
}

/**
 * The same, of what this machine keeps for all its data directories, since nothing of anybody's is in it: made when it isn't there. In
 * `directory` its files have names of their own. Of an image it is made for this one.
 */
export const takeRuntimeBase = async (
  options: BaseMakingOptions,
  wanted: BaseToMake,
  signal: AbortSignal,
): Promise<MadeBase> => {
  const { directory, ground, madeOf, memoryMiB } = wanted
  if (ground.layers !== undefined) return makeRuntimeBase(options, wanted, signal)
  const make = async () => {
    await makeRuntimeBase(options, wanted, signal)
    return directory
  }
  const kept = await options.snapshots.of({ memoryMiB, vcpus: VCPUS }, make, signal, madeOf.slice(0, 16))
  await mkdir(directory, { recursive: true, mode: 0o700 })
  for (const entry of await readdir(kept.directory, { recursive: true, withFileTypes: true })) {
    const from = join(entry.parentPath, entry.name)
    const to = join(directory, relative(kept.directory, from))
    await (entry.isDirectory() ? mkdir(to) : linkOrCopy(from, to))
  }
  const { blocks } = await stat(join(directory, "ram"))
  return { rootDisk: [ground.rootDisk, join(directory, TOP)], memoryBytes: blocks * 512 }
}

/** The runtime's disk is there too, nothing is left of the start, and a runtime waits. */
const prepareGuest = async (
  { log }: VmHost,
  { agent }: BuildLife,
  trained: Trained,
  signal: AbortSignal,
): Promise<void> => {
  try {
    await agent.mountDrives([{ drive: FUNCTION_DRIVES.runtime, isReadOnly: true }], signal)
    await agent.settle(signal)
    const failure = await trainRuntime(agent, trained, signal)
    if (failure !== undefined)
      log.warn(
        { err: failure, runtime: trained.runtime },
        "A runtime could not be trained: its functions start it themselves",
      )
  } finally {
    agent.close()
  }
}
