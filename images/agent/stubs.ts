/**
 * What a build step's mounts stand on. Where the image has nothing at a mount's path, an empty file or directory has to be made there,
 * and the directories above it. The runtime would do that too, but what it makes stays, and is part of the step's layer; made here, it is
 * known, and goes when the step has ended, as in Docker.
 */
import { lstatSync, mkdirSync, statSync, writeFileSync } from "node:fs"
import { rmdir, unlink } from "node:fs/promises"
import { join } from "node:path"
import { IMAGE_ROOT, resolveInImage } from "./image-root.ts"
import type { OciMount } from "./mounts.ts"
import { openPlace } from "./place.ts"

/** An entry of the image that was made for a mount. */
export interface Stub {
  /** From the image's root, by no link. */
  readonly path: string
  /** What is there under another number is not ours. */
  readonly ino: number
}

const partsOf = (path: string) => path.split("/").filter((part) => part !== "" && part !== ".")

/** Makes what is missing for the mounts, which are made in this order; answers with all of it. Nothing else writes to the image meanwhile. */
export const makeStubs = async (mounts: readonly OciMount[], root = IMAGE_ROOT): Promise<readonly Stub[]> => {
  const stubs: Stub[] = []
  for (const [index, { destination, type, source }] of mounts.entries()) {
    // What stands on another mount stands on nothing of the image.
    const isOnAnother = mounts.slice(0, index).some((below) => destination.startsWith(`${below.destination}/`))
    try {
      if (isOnAnother || isThere(destination, root)) continue
      const resolved = resolveInImage(destination, root)
      makeMissing(resolved.slice(root.length), type !== "bind" || statSync(source).isDirectory(), root, stubs)
    } catch {
      // What was in the way is in the runtime's too, which fails the step in its own words.
    }
  }
  return stubs
}

/** Whether something is at a path that leads there without links: most of them, looked at in the cheapest way. */
const isThere = (path: string, root: string): boolean => {
  const parts = partsOf(path)
  return parts.every((part, index) => {
    const found = part !== ".." && lstatSync(join(root, ...parts.slice(0, index + 1)), { throwIfNoEntry: false })
    return found !== false && found?.isSymbolicLink() === false
  })
}

const makeMissing = (path: string, isDirectory: boolean, root: string, stubs: Stub[]): void => {
  const parts = partsOf(path)
  for (const index of parts.keys()) {
    const entry = join(root, ...parts.slice(0, index + 1))
    if (lstatSync(entry, { throwIfNoEntry: false }) !== undefined) continue
    if (isDirectory || index < parts.length - 1) mkdirSync(entry, { mode: 0o755 })
    else writeFileSync(entry, "", { flag: "wx", mode: 0o644 })
    stubs.push({ path: entry.slice(root.length), ino: lstatSync(entry).ino })
  }
}

/** Removes those that are still what they were: a directory that the step has put something in stays, and so does whatever is in a stub's place. */
export const removeStubs = async (stubs: readonly Stub[], root = IMAGE_ROOT): Promise<void> => {
  for (const { path, ino } of stubs.toReversed()) {
    await using place = await openPlace(path, { followLast: false, root }).catch(() => undefined)
    if (place?.entry === undefined || place.found?.stats.ino !== ino) continue
    const { entry, found } = place
    // A directory that isn't empty is refused by the kernel, which alone knows that at the same moment.
    if (found.stats.isDirectory()) await rmdir(entry).catch(() => {})
    else if (found.stats.size === 0) await unlink(entry).catch(() => {})
  }
}
