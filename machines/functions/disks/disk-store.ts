/**
 * The disks of this host's functions, `functions/disks/<name>.raw` in the data directory. Each has its name when all of it is there, and
 * is never written again. Those that nobody's definition needs any more are removed some time after they were last asked for, and so
 * are the longest unused when all together are too large: a zip of some kilobytes can be a disk of 250 MB. What a VM or a snapshot
 * has is a file of its own to it, by another name.
 */
import { createHash } from "node:crypto"
import { chmod, mkdir, readdir, rename, rm, stat, utimes } from "node:fs/promises"
import { join } from "node:path"
import { unlessAborted } from "../../../src/abort.ts"
import { leastRecent, type Kept } from "../../../src/least-recent.ts"
import type { Log } from "../../../src/log.ts"
import { createTurns } from "../../building/turns.ts"
import { makeTemporary } from "./blank-disk.ts"
import type { DiskOwner, FunctionDiskStore } from "./function-disks.ts"

export interface DiskStoreOptions {
  readonly directory: string
  /** Makes the disk of some zips, the lowest first, at `to`. */
  readonly build: (zips: readonly string[], to: string, signal: AbortSignal) => Promise<void>
  /** Everybody who may ask for disks, or has them. */
  readonly owners: () => Promise<readonly DiskOwner[]>
  readonly maxConcurrentBuilds: number
  /** Of those that no VM and no snapshot has, all together. */
  readonly maxBytes: number
  /** Where VMs and snapshots have their names of disks. */
  readonly holders: readonly string[]
  readonly log: Log
}

/** Disposing it ends what is at work. */
export interface OpenDiskStore extends FunctionDiskStore, AsyncDisposable {
  /** What a `/tmp` with so much room stands on, of whichever definition: a definition's is the same. */
  temporaryOf(roomMiB: number, signal: AbortSignal): Promise<string>
  /** Something was removed: looks soon for disks that nobody needs. Returns at once. */
  tidy(): void
}

/** How disks are made: another number makes all of them again. */
const FORMAT = 1
/** Between whoever asks for a disk and its VM, which holds it open. */
const KEPT_MS = 15 * 60_000
const UNFINISHED = ".unfinished"

const nameOf = (zips: readonly string[]) =>
  `${createHash("sha256")
    .update(JSON.stringify([FORMAT, zips]))
    .digest("hex")}.raw`
const temporaryName = (roomMiB: number) => `temporary-${FORMAT}-${roomMiB}.raw`

const namesOf = ({ code, layers, settings }: DiskOwner) => ({
  code: nameOf([code]),
  layers: layers.length === 0 ? undefined : nameOf(layers),
  temporary: temporaryName(settings.temporaryMiB),
})

/** Opens the disks; what an earlier daemon left that nobody needs is removed. */
export const openDiskStore = async (options: DiskStoreOptions): Promise<OpenDiskStore> => {
  const { directory, build, owners, maxConcurrentBuilds, maxBytes, holders, log } = options
  const closed = new AbortController()
  const closing = closed.signal
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const turns = createTurns(maxConcurrentBuilds)
  /** What is looked for or made at this moment, for everybody who asks. */
  const atWork = new Map<string, Promise<string>>()
  const removals = new Map<string, Promise<void>>()
  let timer: NodeJS.Timeout | undefined
  let tidying = Promise.resolve()

  const findOrMake = async (name: string, make: (to: string) => Promise<void>): Promise<string> => {
    const path = join(directory, name)
    await removals.get(name)
    const now = new Date()
    // Whoever asks keeps it from being removed before it is in use.
    if (await utimes(path, now, now).then(() => true, isMissing)) return path
    const unfinished = `${path}${UNFINISHED}`
    try {
      await make(unfinished)
      await rename(unfinished, path)
      after(trim)
    } finally {
      await rm(unfinished, { force: true })
    }
    return path
  }

  const once = (name: string, make: (to: string) => Promise<void>): Promise<string> => {
    const work = atWork.get(name) ?? findOrMake(name, make).finally(() => atWork.delete(name))
    atWork.set(name, work)
    return work
  }

  const unpacked = (name: string, zips: readonly string[]) =>
    once(name, async (to) => {
      const leave = await turns.take(closing)
      try {
        await build(zips, to, closing)
      } finally {
        leave()
      }
    })

  const temporary = (roomMiB: number) =>
    once(temporaryName(roomMiB), async (to) => {
      await makeTemporary(to, roomMiB, closing)
      await chmod(to, 0o444)
    })

  /** Removes a disk unless it is asked for now, or was since `before`; whoever asks meanwhile waits for it, and makes it again. */
  const remove = async (name: string, before: number): Promise<boolean> => {
    if (atWork.has(name.replace(UNFINISHED, ""))) return false
    const path = join(directory, name)
    let isOld = true
    const removal = (async () => {
      const at = await stat(path).catch(() => undefined)
      isOld = at !== undefined && at.mtimeMs < before
      if (isOld) await rm(path, { recursive: true, force: true })
    })().finally(() => removals.delete(name))
    removals.set(name, removal)
    await removal
    return isOld
  }

  /** All that nobody needs, but what was asked for since `before`. */
  const removeUnneeded = async (before: number): Promise<void> => {
    const found = await readdir(directory)
    const needed = new Set<string>()
    for (const owner of await owners()) for (const name of Object.values(namesOf(owner))) if (name) needed.add(name)
    for (const name of found) if (!needed.has(name) && !(await remove(name, before))) tidy()
  }

  /** The longest unused beyond their room. To remove the name of one that somebody has would gain nothing. */
  const trim = async (): Promise<void> => {
    // On another file system they have none, and what they have cannot be told from what nobody has.
    if (!(await areOnOneDevice([directory, ...holders]))) return
    const kept = new Map<string, Kept>()
    for (const name of await readdir(directory)) {
      const at = await stat(join(directory, name)).catch(() => undefined)
      if (at?.nlink === 1) kept.set(name, { bytes: at.blocks * 512, usedAt: at.mtimeMs })
    }
    const before = Date.now() - KEPT_MS
    for (const name of leastRecent(kept, maxBytes, before)) await remove(name, before)
  }

  const after = (step: () => Promise<void>): void => {
    tidying = tidying.then(step).catch((error: unknown) => {
      if (!closing.aborted) log.error({ err: error }, "Disks of functions could not be removed")
    })
  }

  const tidy = (): void => {
    if (timer !== undefined || closing.aborted) return
    timer = setTimeout(() => {
      timer = undefined
      after(() => removeUnneeded(Date.now() - KEPT_MS))
      after(trim)
    }, KEPT_MS)
    timer.unref()
  }

  await removeUnneeded(Infinity)
  return {
    async of(owner, signal) {
      const names = namesOf(owner)
      const made = Promise.all([
        unpacked(names.code, [owner.code]),
        names.layers === undefined ? null : unpacked(names.layers, owner.layers),
        temporary(owner.settings.temporaryMiB),
      ])
      made.catch(() => {})
      // Made for all: one who waits no longer doesn't end it.
      const [code, layers, blank] = await unlessAborted(made, signal)
      return { code, layers, temporary: blank }
    },
    temporaryOf(roomMiB, signal) {
      const made = temporary(roomMiB)
      made.catch(() => {})
      return unlessAborted(made, signal)
    },
    tidy,
    async [Symbol.asyncDispose]() {
      closed.abort()
      clearTimeout(timer)
      await Promise.allSettled(atWork.values())
      await tidying
    },
  }
}

const areOnOneDevice = async (directories: readonly string[]): Promise<boolean> => {
  const found = await Promise.all(directories.map((directory) => stat(directory).catch(() => undefined)))
  return new Set(found.flatMap((at) => at?.dev ?? [])).size === 1
}

const isMissing = (error: NodeJS.ErrnoException): false => {
  if (error.code === "ENOENT") return false
  throw error
}
