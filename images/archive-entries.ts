/** The directory of a stranger's archive, entry by entry: whoever walks it sees none that is hostile. */
import { stat } from "node:fs/promises"
import type { Readable } from "node:stream"
import { promisify } from "node:util"
import { open, type Entry, type ZipFile } from "yauzl"
import { ArchiveError, ArchiveTooLargeError } from "./archive-error.ts"

export interface ArchiveEntry {
  readonly zip: ZipFile
  readonly entry: Entry
  /** Clean and relative, without a slash at its end. */
  readonly path: string
  readonly kind: "file" | "directory" | "link"
}

const MAX_ENTRIES = 100_000
/** Above this an entry is a bomb: deflate itself can't do more than 1,032 to 1. */
const MAX_RATIO = 1100
/** What Linux takes as a path, and as one part of it. */
const [MAX_PATH_BYTES, MAX_PART_BYTES] = [4095, 255]
/** All names' parts together: what the tree of them may take. */
const MAX_PARTS = 1_000_000
const [FILE, DIRECTORY, LINK, TYPE_MASK] = [0o100000, 0o040000, 0o120000, 0o170000]

const openZip = promisify<string, { lazyEntries: true; autoClose: false; strictFileNames: true }, ZipFile>(open)

const broken = (error: Error) =>
  new ArchiveError("ARCHIVE_INVALID", `The code artifact is not a valid zip archive: ${error.message}`)

export const invalid = (message: string): never => {
  throw new ArchiveError("ARCHIVE_INVALID", `The code artifact is refused: ${message}`)
}

/** Shows every entry of an archive; throws {@link ArchiveError} on one that is broken, hostile, or of more than `maxUnpackedBytes`. */
export const walkArchive = async (
  file: string,
  maxUnpackedBytes: number,
  visit: (entry: ArchiveEntry) => Promise<void> | void,
): Promise<{ unpackedBytes: number }> => {
  const zip = await openZip(file, { lazyEntries: true, autoClose: false, strictFileNames: true }).catch(
    (error: Error) => {
      throw broken(error)
    },
  )
  try {
    return await walk(zip, (await stat(file)).size, maxUnpackedBytes, visit)
  } catch (error) {
    throw error instanceof ArchiveError ? error : broken(error as Error)
  } finally {
    zip.close()
  }
}

const walk = async (
  zip: ZipFile,
  archiveBytes: number,
  maxUnpackedBytes: number,
  visit: (entry: ArchiveEntry) => Promise<void> | void,
) => {
  if (zip.entryCount > MAX_ENTRIES) invalid(`it has more than ${MAX_ENTRIES} entries`)
  const seen = new Set<string>()
  let [packedBytes, unpackedBytes, parts] = [0, 0, 0]
  for await (const entry of entriesOf(zip)) {
    const path = cleanPath(entry.fileName)
    if (path === "") continue
    if (seen.has(path)) invalid(`the name '${path.slice(0, 100)}' is there twice`)
    seen.add(path)
    parts += path.split("/").length
    if (parts > MAX_PARTS) invalid("its folders are nested too deep")
    if (entry.isEncrypted()) invalid(`'${path.slice(0, 100)}' is encrypted`)
    unpackedBytes += entry.uncompressedSize
    if (unpackedBytes > maxUnpackedBytes || entry.uncompressedSize > MAX_RATIO * Math.max(entry.compressedSize, 1024))
      throw new ArchiveTooLargeError("ARCHIVE_INVALID", "The code artifact is refused: it would be too large unpacked")
    packedBytes += entry.compressedSize
    if (packedBytes > archiveBytes) invalid("its entries overlap")
    await visit({ zip, entry, path, kind: kindOf(entry, path) })
  }
  return { unpackedBytes }
}

/** Some archivers name everything below `./`, and that too: it is the empty path. */
const cleanPath = (name: string): string => {
  const path = name.replace(/^(?:\.\/)+/, "").replace(/\/+$/, "")
  if (path === "" && name !== "") return path
  const parts = path.split("/")
  if (parts.some((part) => part === ".." || part === "." || part === "") || /[\0\\\uFFFD]/.test(path))
    invalid(`the name '${path.slice(0, 100)}' is not a plain relative path`)
  if (Buffer.byteLength(path) > MAX_PATH_BYTES || parts.some((part) => Buffer.byteLength(part) > MAX_PART_BYTES))
    invalid(`the name '${path.slice(0, 100)}…' is too long`)
  return path
}

const kindOf = (entry: Entry, path: string): ArchiveEntry["kind"] => {
  const type = (entry.externalFileAttributes >>> 16) & TYPE_MASK
  if (entry.fileName.endsWith("/")) {
    // A link's name may end so too, and it is still a link to whoever unpacks it.
    if (type !== DIRECTORY && type !== 0) invalid(`'${path.slice(0, 100)}' is named like a directory and is none`)
    return "directory"
  }
  if (type !== FILE && type !== LINK && type !== 0)
    invalid(`'${path.slice(0, 100)}' is neither a file nor a directory nor a link`)
  return type === LINK ? "link" : "file"
}

async function* entriesOf(zip: ZipFile): AsyncGenerator<Entry> {
  for (;;) {
    const entry = await new Promise<Entry | undefined>((resolve, reject) => {
      const off = () => zip.removeAllListeners("entry").removeAllListeners("end").removeAllListeners("error")
      zip.once("entry", (found: Entry) => (off(), resolve(found)))
      zip.once("end", () => (off(), resolve(undefined)))
      zip.once("error", (error: Error) => (off(), reject(error)))
      zip.readEntry()
    })
    if (entry === undefined) return
    yield entry
  }
}

/** An entry's bytes, as they are in the archive or as they were. */
export const readStream = (zip: ZipFile, entry: Entry, decompress: boolean): Promise<Readable> =>
  new Promise((resolve, reject) => {
    const take = (error: Error | null, stream?: Readable) =>
      stream === undefined ? reject(error ?? new Error("no data")) : resolve(stream)
    if (decompress) zip.openReadStream(entry, take)
    else zip.openReadStream(entry, { decompress: entry.compressionMethod === 8 ? false : null } as never, take)
  })
