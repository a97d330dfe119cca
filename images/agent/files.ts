/** Files of the image for the host, streamed both ways. The application may be root, and at work on the same files: see place.ts. */
import { randomUUID } from "node:crypto"
import { constants, type Stats } from "node:fs"
import { lstat, open, opendir, rename, rmdir, unlink } from "node:fs/promises"
import type { ServerHttp2Stream } from "node:http2"
import { pipeline } from "node:stream/promises"
import type { FileEntry, FileList } from "../../src/agent/protocol.ts"
import { COMPLETE_TRAILER, FILE_PAGE_MAX, FILE_SIZE_HEADER } from "../../src/agent/version.ts"
import { FileError } from "./file-error.ts"
import { openPlace, type Owner } from "./place.ts"

/** Regular files only, and never waiting: a lease that the application holds would keep an opener for 45 s. */
const READ = constants.O_RDONLY | constants.O_NONBLOCK
const CREATE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW

/** Sends what the file holds when it is opened. One that grows meanwhile is sent up to there; one that shrinks ends early, and the host knows by its size. */
export const sendFile = async (path: string, to: ServerHttp2Stream, root: string): Promise<void> => {
  await using place = await openPlace(path, { followLast: true, root })
  const { found } = place
  if (found === undefined) throw new FileError("ENOENT", "There is no such file or directory")
  refuseSpecial(found.stats)
  await using file = await open(found.path, READ)
  const { size } = await file.stat()
  to.respond({ ":status": 200, "content-type": "application/octet-stream", [FILE_SIZE_HEADER]: String(size) })
  if (size === 0) to.end()
  else await pipeline(file.createReadStream({ start: 0, end: size - 1, autoClose: false }), to)
}

/** The bytes of an upload, refused when they are more than that, or when they were cut off. */
export type Upload = (maxBytes: number) => AsyncGenerator<Buffer>

/** An upload that is read later; what says that it is whole is listened for from now on. One that is refused stays open: the refusal is its answer. */
export const openUpload = (from: ServerHttp2Stream): Upload => {
  let isWhole = false
  from.once("trailers", (trailers) => (isWhole = trailers[COMPLETE_TRAILER] === "1"))
  return async function* upload(maxBytes) {
    let bytes = 0
    for await (const chunk of from.iterator({ destroyOnReturn: false })) {
      bytes += (chunk as Buffer).length
      if (bytes > maxBytes) throw new FileError("EFBIG", `The file is larger than ${maxBytes} bytes`)
      yield chunk as Buffer
    }
    if (!isWhole) throw new FileError("EPIPE", "The upload was cut off")
  }
}

export interface WriteOptions {
  readonly maxBytes: number
  /** Those of the file that is replaced when they are not said, else 0644 and root. */
  readonly mode: number | undefined
  readonly owner: Owner | undefined
  readonly makeParents: boolean
}

/** Replaces a file, or makes it, whole or not at all: it is written under another name beside it. */
export const receiveFile = async (
  path: string,
  upload: Upload,
  { maxBytes, mode, owner, makeParents }: WriteOptions,
  root: string,
): Promise<void> => {
  const walk = { followLast: true, makeParents: makeParents ? (owner ?? { uid: 0, gid: 0 }) : undefined, root }
  await using place = await openPlace(path, walk)
  const { entry, found } = place
  if (entry === undefined) throw new FileError("EISDIR", "It is a directory")
  if (found !== undefined) refuseSpecial(found.stats)
  const temporary = place.beside(`.torpor-${randomUUID()}`)
  const file = await open(temporary, CREATE, 0o600)
  try {
    await file.writeFile(upload(maxBytes))
    const { uid, gid } = owner ?? found?.stats ?? { uid: 0, gid: 0 }
    await file.chown(uid, gid)
    await file.chmod(mode ?? (found?.stats.mode ?? 0o644) & 0o7777)
    await rename(temporary, entry)
  } catch (error) {
    await unlink(temporary).catch(() => {})
    throw error
  } finally {
    await file.close()
  }
}

/** Removes a file, a link or an empty directory. */
export const removeFile = async (path: string, root: string): Promise<void> => {
  await using place = await openPlace(path, { followLast: false, root })
  const { entry, found } = place
  if (found === undefined) throw new FileError("ENOENT", "There is no such file or directory")
  if (entry === undefined) throw new FileError("EINVAL", "The path must end in a name")
  await (found.stats.isDirectory() ? rmdir(entry) : unlink(entry))
}

/** A page of a directory in the order of its names' bytes. However many there are, only a page of them is ever held. */
export const listDirectory = async (
  path: string,
  { after, limit, signal }: { after: string; limit: number; signal: AbortSignal },
  root: string,
): Promise<FileList> => {
  await using place = await openPlace(path, { followLast: true, root })
  const { found } = place
  if (found === undefined) throw new FileError("ENOENT", "There is no such file or directory")
  if (!found.stats.isDirectory()) throw new FileError("ENOTDIR", "It is not a directory")
  const count = Math.min(Math.max(limit, 1), FILE_PAGE_MAX)
  const names = await firstNames(found.path, Buffer.from(after, "base64url"), count + 1, signal)
  const shown = names.slice(0, count)
  const directory = Buffer.from(`${found.path}/`)
  const entries: FileEntry[] = []
  for (const name of shown) {
    // What has gone meanwhile is not there.
    const stats = await lstat(Buffer.concat([directory, name])).catch(() => undefined)
    if (stats !== undefined) entries.push(toEntry(name.toString("utf8"), stats))
  }
  // By its bytes: a name needn't be text.
  return { entries, next: names.length > count ? (shown.at(-1)?.toString("base64url") ?? null) : null }
}

const firstNames = async (path: string, after: Buffer, count: number, signal: AbortSignal): Promise<Buffer[]> => {
  let names: Buffer[] = []
  const keepFirst = () => (names = names.toSorted(Buffer.compare).slice(0, count))
  // Node's types know names as text alone.
  const directory = await opendir(path, { encoding: "buffer" as BufferEncoding, bufferSize: 1024 })
  for await (const { name } of directory as AsyncIterable<{ name: unknown }>) {
    signal.throwIfAborted()
    if (Buffer.compare(name as Buffer, after) > 0) names.push(name as Buffer)
    if (names.length >= 4 * count) keepFirst()
  }
  return keepFirst()
}

const typeOf = (stats: Stats): FileEntry["type"] => {
  if (stats.isFile()) return "file"
  if (stats.isDirectory()) return "directory"
  if (stats.isSymbolicLink()) return "link"
  if (stats.isFIFO()) return "fifo"
  return stats.isSocket() ? "socket" : "device"
}

const toEntry = (name: string, stats: Stats): FileEntry => ({
  name,
  type: typeOf(stats),
  size: stats.size,
  mode: stats.mode & 0o7777,
  uid: stats.uid,
  gid: stats.gid,
  modifiedAt: Math.round(stats.mtimeMs),
})

const refuseSpecial = (stats: Stats) => {
  if (stats.isDirectory()) throw new FileError("EISDIR", "It is a directory")
  if (!stats.isFile()) throw new FileError("EINVAL", `It is a ${typeOf(stats)}, not a file`)
}
