/**
 * Paths in the image while the application runs: it may be root, and may change any part of a path between two looks at it. The agent
 * is root outside of the application's container, so a link that it followed out of the image would lead into its own /proc, or to the
 * secret. Node has neither openat2 nor chroot; so a path is walked here component by component, each opened below the descriptor of the
 * one before, with O_PATH (nothing is opened by that: a device isn't touched, a FIFO isn't waited for) and O_NOFOLLOW; links are read, and
 * followed as if the image's root were `/`; and what was found is used by its descriptor, never again by its path.
 *
 * What is walked is the root disk in our own mount namespace. What the application mounts in its own isn't on the way: a FUSE file
 * system that never answers would hold one of the agent's few threads for good.
 */
import { constants, type Stats } from "node:fs"
import { chown, mkdir, open, readlink, type FileHandle } from "node:fs/promises"
import { FileError } from "./file-error.ts"

export interface Owner {
  readonly uid: number
  readonly gid: number
}

/** An entry of a directory of the image, or the name of one to be. Both directory and entry are held: the caller disposes it. */
export interface Place extends AsyncDisposable {
  /** A path that stays this very name in this very directory; `undefined` for the root, which has no name. */
  readonly entry: string | undefined
  /** The same for another name in its directory. */
  beside(name: string): string
  /** What was there, by a path that stays this very thing; `undefined` when nothing was. */
  readonly found: { readonly path: string; readonly stats: Stats } | undefined
}

export interface Walk {
  /** Whether a link at the end of the path is followed, as those before it are. */
  readonly followLast: boolean
  /** Who owns the directories that are made on the way; without it none is. */
  readonly makeParents?: Owner | undefined
  /** Where the image's root file system is. */
  readonly root: string
}

/** Not among Node's constants; the same on every architecture that Node runs on. */
const O_PATH = 0o10000000
const MAX_PATH = 4096
const MAX_LINKS = 40
/** Each level is a descriptor while the walk lasts. */
const MAX_DEPTH = 128
const MAX_STEPS = 4096

const pathOf = ({ fd }: FileHandle) => `/proc/self/fd/${fd}`
const at = (directory: FileHandle, name: string) => `${pathOf(directory)}/${name}`
const partsOf = (path: string) => path.split("/").filter((part) => part !== "" && part !== ".")

/** Walks to a path. Throws {@link FileError} for what is missing or no directory on the way, and for a path that is too long a way. */
export const openPlace = async (path: string, { followLast, makeParents, root }: Walk): Promise<Place> => {
  if (!path.startsWith("/") || path.length > MAX_PATH || path.includes("\0"))
    throw new FileError("EINVAL", "The path must be absolute, of 4096 characters at most, none of them NUL")
  const above: FileHandle[] = []
  const pending = partsOf(path)
  let entry: FileHandle | undefined
  let name: string | undefined
  let links = 0
  const close = async () =>
    void (await Promise.all([...above, ...(entry === undefined ? [] : [entry])].map((held) => held.close())))
  try {
    above.push(await open(root, O_PATH | constants.O_DIRECTORY))
    for (let steps = 0; pending.length > 0; steps++) {
      if (steps > MAX_STEPS || above.length > MAX_DEPTH) throw new FileError("ELOOP", "The way is too long")
      name = pending.shift()!
      const directory = above.at(-1)!
      if (name === "..") {
        name = undefined
        if (above.length > 1) await above.pop()?.close()
        continue
      }
      entry = await openEntry(at(directory, name))
      const isLast = pending.length === 0
      if (entry === undefined) {
        if (isLast) break
        if (makeParents === undefined) throw new FileError("ENOENT", "There is no such file or directory")
        entry = await makeDirectory(at(directory, name), makeParents)
      }
      const stats = await entry.stat()
      if (stats.isSymbolicLink() && (!isLast || followLast)) {
        if (++links > MAX_LINKS) throw new FileError("ELOOP", "There are too many links on the way")
        // By its name once more: if it is no link by now, the next step finds what it is.
        const target = await readlink(at(directory, name)).catch(() => name!)
        await entry.close()
        entry = undefined
        if (target.startsWith("/")) for (const left of above.splice(1)) await left.close()
        pending.unshift(...partsOf(target))
        name = undefined
      } else if (!isLast) {
        if (!stats.isDirectory()) throw new FileError("ENOTDIR", "What is on the way is not a directory")
        above.push(entry)
        entry = undefined
      }
    }
    // The path ended in `..`, a link to one, or is the root: a directory without a name of its own.
    if (name === undefined) entry = above.pop()
    const directory = above.at(-1)
    return {
      entry: name === undefined || directory === undefined ? undefined : at(directory, name),
      beside: (other) => at(directory!, other),
      found: entry === undefined ? undefined : { path: pathOf(entry), stats: await entry.stat() },
      [Symbol.asyncDispose]: close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

const openEntry = async (path: string): Promise<FileHandle | undefined> => {
  try {
    return await open(path, O_PATH | constants.O_NOFOLLOW)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined
    throw error
  }
}

const makeDirectory = async (path: string, { uid, gid }: Owner): Promise<FileHandle> => {
  const isOurs = await mkdir(path, { mode: 0o755 }).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      // Another upload was first.
      if (error.code !== "EEXIST") throw error
      return false
    },
  )
  // Whatever is there by now: nothing but a directory gets another owner.
  const made = await open(path, O_PATH | constants.O_NOFOLLOW | constants.O_DIRECTORY)
  if (isOurs) await chown(pathOf(made), uid, gid)
  return made
}
