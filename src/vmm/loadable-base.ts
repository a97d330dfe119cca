import { verifyQemu, type QemuBuild } from "./kept-qemu.ts"
import { baseFiles, verifyBase, type Machine, type Manifest } from "./manifest.ts"
import { openMemoryMap, PAGE_BYTES, type ProcessMemory, type Touched } from "./memory/memory-map.ts"
import type { BasePaths, VmProcess } from "./vmm.ts"
import type { WorkingSets } from "./memory/working-sets.ts"

/** A base that guests of this machine begin as, with the QEMU that made it. */
export interface LoadableBase {
  readonly manifest: Manifest
  readonly files: ReturnType<typeof baseFiles>
  readonly qemu: QemuBuild
  /** What its guests touch first, if that is known. */
  touched(): Promise<Touched | undefined>
  /** The private mapping of its memory that a process has. */
  openMemory(process: VmProcess): Promise<ProcessMemory>
}

/** Verifies a base, and the QEMU that is kept with it; throws {@link SnapshotRefused} with what differs. */
export const verifyLoadable = async (
  base: BasePaths,
  machine: Machine,
  workingSets: WorkingSets,
): Promise<LoadableBase> => {
  const manifest = await verifyBase(base, machine)
  const files = baseFiles(base)
  await verifyQemu(files.qemu, manifest.qemu)
  const bytes = machine.memoryMiB * 1024 ** 2
  return {
    manifest,
    files,
    qemu: { ...manifest.qemu, directory: files.qemu },
    touched: () => workingSets.of(base, bytes / PAGE_BYTES),
    openMemory: ({ pid }) => openMemoryMap(pid, files.ram, bytes, true),
  }
}
