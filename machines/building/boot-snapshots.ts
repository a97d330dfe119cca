/**
 * Guests in which nothing of anybody's has been yet: one of each size that has booted, what every VM of a build is launched from, so that
 * only the first build of a machine waits for a kernel; and those that functions of a runtime begin with. Made of what is installed here
 * and now, and made again when that is another. They are in the cache, shared by all data directories, and need no row: none of them may
 * be missed by anything but the next build's start.
 */
import { randomUUID } from "node:crypto"
import { mkdir, readdir, rename, rm, stat, utimes } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { runCommand } from "../../src/command.ts"
import { lock, tryLock } from "../../src/file-lock.ts"
import { fileSizes, sumOf } from "../../src/file-sizes.ts"
import { leastRecent, type Kept } from "../../src/least-recent.ts"
import type { BasePaths, Vmm, VmSize } from "../../src/vmm/vmm.ts"
import type { StorageUse } from "../resources.ts"

export interface BootSnapshots {
  /**
   * One of this size, and of this kind if it is more than booted. `make` answers with the directory of a base, which is taken over; it is
   * asked when there is none that is current.
   */
  of(size: VmSize, make: () => Promise<string>, signal: AbortSignal, kind?: string): Promise<BasePaths>
  /** Of those that are there, and of those that were made of another system disk: nothing is launched from them any more. */
  usage(): Promise<Omit<StorageUse, "kind">>
  /** Removes the latter; answers what went. */
  prune(signal: AbortSignal): Promise<Pick<StorageUse, "count" | "bytes">>
}

/** Those of a directory that daemons share; `systemDisk` is the artefact that they boot from, `maxBytes` what all may take. */
export const createBootSnapshots = (
  directory: string,
  systemDisk: string,
  vmm: Pick<Vmm, "isCurrent">,
  maxBytes: number,
): BootSnapshots => {
  const system = basename(dirname(systemDisk))
  const turns = new Map<string, Promise<unknown>>()
  const lockOf = (name: string) => join(directory, `.${name}.lock`)

  const find = async (
    name: string,
    size: VmSize,
    make: () => Promise<string>,
    signal: AbortSignal,
  ): Promise<BasePaths> => {
    const base = { directory: join(directory, name) }
    const now = new Date()
    // Before it is looked at: what is in use is not trimmed.
    await utimes(base.directory, now, now).catch(() => {})
    if (await vmm.isCurrent(base, size, signal)) return base
    await mkdir(directory, { recursive: true, mode: 0o700 })
    // Of its own: whoever makes one may begin with another.
    await using _ = await lock(lockOf(name), signal)
    if (await vmm.isCurrent(base, size, signal)) return base
    await removeUnfinished(directory, name)
    const unfinished = join(directory, unfinishedOf(name, randomUUID()))
    try {
      // A program's work: the cache may be on another file system.
      await runCommand("mv", ["--no-target-directory", await make(), unfinished], { signal })
      await rm(base.directory, { recursive: true, force: true })
      await rename(unfinished, base.directory)
    } finally {
      await rm(unfinished, { recursive: true, force: true })
    }
    await trim(signal)
    return base
  }

  /** What is beyond the limit goes, the least recently used first; none that somebody else is at, or was within the last hour. */
  const trim = async (signal: AbortSignal): Promise<void> => {
    const kept = new Map<string, Kept>()
    for (const [name, bytes] of await all()) {
      const used = await stat(join(directory, name)).catch(() => undefined)
      kept.set(name, { bytes, usedAt: used?.mtimeMs ?? 0 })
    }
    for (const name of leastRecent(kept, maxBytes)) {
      await using held = await tryLock(lockOf(name), signal)
      if (held !== undefined) await rm(join(directory, name), { recursive: true, force: true })
    }
  }

  /** Their names, and what each takes. */
  const all = async (): Promise<Map<string, number>> => {
    const found = new Map<string, number>()
    for (const [file, bytes] of await fileSizes(directory)) {
      const [name = "", inside] = file.split("/")
      if (inside !== undefined) found.set(name, (found.get(name) ?? 0) + bytes)
    }
    return found
  }
  const isStale = (name: string) => !name.startsWith(`${system}-`)

  return {
    async usage() {
      const found = await all()
      const stale = [...found].filter(([name]) => isStale(name)).map(([, bytes]) => bytes)
      return { count: found.size, bytes: sumOf(found.values()), reclaimableBytes: sumOf(stale) }
    },
    async prune(signal) {
      const stale = [...(await all())].filter(([name]) => isStale(name))
      if (stale.length === 0) return { count: 0, bytes: 0 }
      for (const [name] of stale) {
        await using _ = await lock(lockOf(name), signal)
        await rm(join(directory, name), { recursive: true, force: true })
      }
      return { count: stale.length, bytes: sumOf(stale.map(([, bytes]) => bytes)) }
    },
    of(size, make, signal, kind) {
      const name = [system, size.memoryMiB, size.vcpus, ...(kind === undefined ? [] : [kind])].join("-")
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

const unfinishedOf = (name: string, id: string) => `unfinished-${name}_${id}`

/** What a killed daemon left: the lock says that none is at work. */
const removeUnfinished = async (directory: string, name: string): Promise<void> => {
  for (const entry of await readdir(directory))
    if (entry.startsWith(unfinishedOf(name, ""))) await rm(join(directory, entry), { recursive: true, force: true })
}
