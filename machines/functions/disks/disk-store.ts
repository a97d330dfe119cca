/**
 * The disks of this host's functions, `functions/disks/<name>.raw` in the data directory. Each has its name when all of it is there, and
 * is never written again. Those that nobody's definition needs any more are removed some time after they were last asked for.
 */
import { createHash } from "node:crypto"
import { chmod, mkdir, readdir, rename, rm, stat, utimes } from "node:fs/promises"
import { join } from "node:path"
import { unlessAborted } from "../../../src/abort.ts"
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
  readonly log: Log
}

/** Disposing it ends what is at work. */
export interface OpenDiskStore extends FunctionDiskStore, AsyncDisposable {
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
  const { directory, build, owners, maxConcurrentBuilds, log } = options
  const closed = new AbortController()
  const closing = closed.signal
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const turns = createTurns(maxConcurrentBuilds)
  /** What is looked for or made at this moment, for everybody who asks. */
  const atWork = new Map<string, Promise<string>>()
  let timer: NodeJS.Timeout | undefined
  let tidying = Promise.resolve()

  const findOrMake = async (name: string, make: (to: string) => Promise<void>): Promise<string> => {
    const path = join(directory, name)
    const now = new Date()
    // Whoever asks keeps it from being removed before it is in use.
    if (await utimes(path, now, now).then(() => true, isMissing)) return path
    const unfinished = `${path}${UNFINISHED}`
    try {
      await make(unfinished)
      await rename(unfinished, path)
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

  const temporary = (name: string, roomMiB: number) =>
    once(name, async (to) => {
      await makeTemporary(to, roomMiB, closing)
      await chmod(to, 0o444)
    })

  /** All that nobody needs, but what was asked for since `before`. */
  const removeUnneeded = async (before: number): Promise<void> => {
    const found = await readdir(directory)
    const needed = new Set<string>()
    for (const owner of await owners()) for (const name of Object.values(namesOf(owner))) if (name) needed.add(name)
    for (const name of found) {
      if (needed.has(name) || atWork.has(name.replace(UNFINISHED, ""))) continue
      const path = join(directory, name)
      const at = await stat(path).catch(() => undefined)
      if (at !== undefined && at.mtimeMs < before) await rm(path, { recursive: true, force: true })
      else tidy()
    }
  }

  const tidy = (): void => {
    if (timer !== undefined || closing.aborted) return
    timer = setTimeout(() => {
      timer = undefined
      tidying = removeUnneeded(Date.now() - KEPT_MS).catch((error: unknown) => {
        if (!closing.aborted) log.error({ err: error }, "Disks that no function needs could not be removed")
      })
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
        temporary(names.temporary, owner.settings.temporaryMiB),
      ])
      made.catch(() => {})
      // Made for all: one who waits no longer doesn't end it.
      const [code, layers, blank] = await unlessAborted(made, signal)
      return { code, layers, temporary: blank }
    },
    tidy,
    async [Symbol.asyncDispose]() {
      closed.abort()
      clearTimeout(timer)
      await tidying
      await Promise.allSettled(atWork.values())
    },
  }
}

const isMissing = (error: NodeJS.ErrnoException): false => {
  if (error.code === "ENOENT") return false
  throw error
}
