/**
 * What registries gave, kept by digest: `blobs/sha256/<hex>`, whole and verified, root's, never changed. Shared by all daemons of the
 * cache: a file is there under its name or not at all.
 */
import { randomUUID } from "node:crypto"
import { constants } from "node:fs"
import { link, mkdir, open, readdir, readFile, rename, rm, stat, utimes } from "node:fs/promises"
import { join } from "node:path"
import { sha256Of } from "../../src/file-digest.ts"
import { RegistryError } from "./error.ts"
import { digestOf, type Blob } from "./manifest.ts"

export interface Blobs {
  fileOf(digest: string): string
  /** Whether it is there; it counts as used. Throws a {@link RegistryError} when it has another size than a manifest says. */
  has(blob: Blob): Promise<boolean>
  /** The text of a manifest or configuration that is there and sound. Throws a {@link RegistryError} when it is too large to be one. */
  read(digest: string): Promise<string | undefined>
  /** Keeps a text under its digest; throws a {@link RegistryError} when that is another. */
  put(digest: string, text: string): Promise<void>
  /** Takes over a file that somebody else has written, when it is what it should be; throws a {@link RegistryError} when it isn't. */
  take(blob: Blob, file: string): Promise<void>
  /** Lets a directory have a file that is there already. */
  lend(digest: string, to: string): Promise<void>
  /** What they take on the disk, and what of it {@link Blobs.prune} would remove. */
  usage(): Promise<{ readonly count: number; readonly bytes: number; readonly reclaimableBytes: number }>
  /** Removes the least recently used until no more than this is left; what was used within the last hour stays. Answers what went. */
  prune(maxBytes: number): Promise<{ readonly count: number; readonly bytes: number }>
}

/** skopeo takes no larger manifest or configuration. A layer's digest can be asked for too, and that may be gigabytes. */
const MAX_TEXT_BYTES = 4 * 1024 ** 2

/** A build that has asked for an image takes its layers within this time. */
const IN_USE_MS = 3600_000

/** The blobs below a directory, which is made. */
export const openBlobs = async (directory: string): Promise<Blobs> => {
  const root = join(directory, "blobs/sha256")
  await mkdir(root, { recursive: true, mode: 0o755 })
  const fileOf = (digest: string) => join(root, digest.slice("sha256:".length))

  const touch = async (file: string): Promise<boolean> => {
    const now = new Date()
    return utimes(file, now, now).then(
      () => true,
      () => false,
    )
  }

  const all = async () => {
    const found = await Promise.all(
      (await readdir(root)).map(async (name) => ({
        path: join(root, name),
        stats: await stat(join(root, name)).catch(() => undefined),
      })),
    )
    return found.flatMap(({ path, stats }) =>
      stats === undefined ? [] : [{ path, bytes: stats.blocks * 512, usedAt: stats.mtimeMs }],
    )
  }

  return {
    fileOf,
    async has({ digest, bytes }) {
      const file = fileOf(digest)
      if (!(await touch(file))) return false
      if ((await stat(file)).size !== bytes)
        throw new RegistryError(`Its manifest says that layer ${digest} has ${bytes} bytes, and it has not.`)
      return true
    },
    async read(digest) {
      const file = fileOf(digest)
      if (!(await touch(file))) return undefined
      if ((await stat(file)).size > MAX_TEXT_BYTES)
        throw new RegistryError(`What ${digest} names is larger than any manifest or configuration.`)
      const text = await readFile(file, "utf8")
      return digestOf(text) === digest ? text : undefined
    },
    async put(digest, text) {
      if (digestOf(text) !== digest) throw new RegistryError(`What the registry sent as ${digest} is something else.`)
      const unfinished = `${fileOf(digest)}.${randomUUID()}`
      await using file = await open(unfinished, "wx", 0o444)
      await file.writeFile(text)
      await file.sync()
      await rename(unfinished, fileOf(digest))
    },
    async take({ digest, bytes }, file) {
      await using handle = await openStrangers(file).catch((error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT") throw new RegistryError(`The registry has no layer ${digest}.`)
        throw new RegistryError(`What was fetched as layer ${digest} is no file.`)
      })
      const stats = await handle.stat()
      if (!stats.isFile() || stats.nlink !== 1 || stats.size !== bytes)
        throw new RegistryError(`What the registry sent as layer ${digest} is something else.`)
      // Nobody writes to it any more: the one who could is over, and it is root's from here on.
      await handle.chown(0, 0)
      await handle.chmod(0o444)
      if (`sha256:${await sha256Of(handle)}` !== digest)
        throw new RegistryError(`What the registry sent as layer ${digest} is something else.`)
      await handle.sync()
      await rename(file, fileOf(digest))
    },
    lend: (digest, to) => link(fileOf(digest), to),
    async usage() {
      const files = await all()
      const unused = files.filter(({ usedAt }) => Date.now() - usedAt >= IN_USE_MS)
      return { count: files.length, bytes: bytesOf(files), reclaimableBytes: bytesOf(unused) }
    },
    async prune(maxBytes) {
      const files = (await all()).toSorted((one, other) => one.usedAt - other.usedAt)
      let left = bytesOf(files)
      const gone = { count: 0, bytes: 0 }
      for (const { path, bytes, usedAt } of files) {
        if (left <= maxBytes || Date.now() - usedAt < IN_USE_MS) break
        await rm(path, { force: true })
        left -= bytes
        gone.count++
        gone.bytes += bytes
      }
      return gone
    },
  }
}

const bytesOf = (files: readonly { bytes: number }[]) => files.reduce((sum, { bytes }) => sum + bytes, 0)

/** Whoever wrote it may have made a link of it, which would have us change a file of the host's, or a pipe that nobody ends. */
const openStrangers = (file: string) => open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
