/**
 * A guest that has booted and done nothing yet, one for each size: what every VM of a build is launched from, so that only the first
 * build waits for a kernel. Made of what is installed here and now, and made again when that is another. They need no row: none of them
 * may be missed by anything but the next build's start.
 */
import { randomUUID } from "node:crypto"
import { mkdir, readdir, rename, rm } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import type { BasePaths, Vmm, VmSize } from "../../src/vmm/vmm.ts"

export interface BootSnapshots {
  /** One of this size. `make` writes a base into the directory that it is given; it is asked when there is none that is current. */
  of(size: VmSize, make: (directory: string) => Promise<void>, signal: AbortSignal): Promise<BasePaths>
}

/** Those of a directory that this daemon alone uses; `systemDisk` is the artefact that they boot from. */
export const createBootSnapshots = (
  directory: string,
  systemDisk: string,
  vmm: Pick<Vmm, "isCurrent">,
): BootSnapshots => {
  const system = basename(dirname(systemDisk))
  const turns = new Map<string, Promise<unknown>>()

  const find = async (
    name: string,
    size: VmSize,
    make: (directory: string) => Promise<void>,
    signal: AbortSignal,
  ): Promise<BasePaths> => {
    const base = { directory: join(directory, name) }
    if (await vmm.isCurrent(base, size, signal)) return base
    await removeUnlike(directory, system)
    const unfinished = join(directory, `unfinished-${randomUUID()}`)
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 })
      await make(unfinished)
      await rm(base.directory, { recursive: true, force: true })
      await rename(unfinished, base.directory)
    } finally {
      await rm(unfinished, { recursive: true, force: true })
    }
    return base
  }

  return {
    of(size, make, signal) {
      const name = `${system}-${size.memoryMiB}-${size.vcpus}`
      // One after the other: who comes second finds what the first has made, or makes it when the first has given up.
      const mine = (turns.get(name) ?? Promise.resolve()).then(() => find(name, size, make, signal))
      turns.set(
        name,
        mine.catch(() => {}),
      )
      return mine
    },
  }
}

/** Of other system disks, and what a killed daemon left. */
const removeUnlike = async (directory: string, system: string): Promise<void> => {
  for (const entry of await readdir(directory).catch(() => []))
    if (!entry.startsWith(`${system}-`)) await rm(join(directory, entry), { recursive: true, force: true })
}
