/**
 * A guest that has booted and done nothing yet, one for each size: what every VM of a build is launched from, so that only the first
 * build of a machine waits for a kernel. Made of what is installed here and now, and made again when that is another. They are in the
 * cache, shared by all data directories, and need no row: none of them may be missed by anything but the next build's start.
 */
import { randomUUID } from "node:crypto"
import { mkdir, readdir, rename, rm } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { runCommand } from "../../src/command.ts"
import { lock } from "../../src/file-lock.ts"
import type { BasePaths, Vmm, VmSize } from "../../src/vmm/vmm.ts"

export interface BootSnapshots {
  /** One of this size. `make` answers with the directory of a base, which is taken over; it is asked when there is none that is current. */
  of(size: VmSize, make: () => Promise<string>, signal: AbortSignal): Promise<BasePaths>
}

/** Those of a directory that daemons share; `systemDisk` is the artefact that they boot from. */
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
    make: () => Promise<string>,
    signal: AbortSignal,
  ): Promise<BasePaths> => {
    const base = { directory: join(directory, name) }
    if (await vmm.isCurrent(base, size, signal)) return base
    await mkdir(directory, { recursive: true, mode: 0o700 })
    await using _ = await lock(join(directory, ".lock"), signal)
    if (await vmm.isCurrent(base, size, signal)) return base
    await removeUnfinished(directory)
    const unfinished = join(directory, `unfinished-${randomUUID()}`)
    try {
      // A program's work: the cache may be on another file system.
      await runCommand("mv", ["--no-target-directory", await make(), unfinished], { signal })
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

/** What a killed daemon left: the lock says that none is at work. */
const removeUnfinished = async (directory: string): Promise<void> => {
  for (const entry of await readdir(directory))
    if (entry.startsWith("unfinished-")) await rm(join(directory, entry), { recursive: true, force: true })
}
