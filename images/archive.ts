/**
 * What this host reads of a stranger's archive: its directory, the compressed bytes behind it (to know them again, never to unpack
 * them), and one file, the Dockerfile. Names in it are compared and never used as paths here.
 */
import { createHash } from "node:crypto"
import { open, type ZipFile, type Entry } from "yauzl"
import { promisify } from "node:util"
import type { Readable } from "node:stream"
import { MAX_DOCKERFILE_BYTES } from "./dockerfile/instructions.ts"

/** Why an archive is refused; `code` is AWS's. */
export class ArchiveError extends Error {
  override readonly name = "ArchiveError"
  readonly code: "ARCHIVE_INVALID" | "ARCHIVE_DOCKERFILE_NOT_FOUND"

  constructor(code: ArchiveError["code"], message: string) {
    super(message)
    this.code = code
  }
}

export interface ArchiveEntry {
  /** Relative, without a slash at its end. */
  readonly path: string
  readonly kind: "file" | "directory" | "link"
  readonly mode: number
  /** SHA-256 over method, sizes and compressed bytes: equal means equal content. */
  readonly digest: string
}

export interface Archive {
  readonly dockerfile: string
  readonly entries: readonly ArchiveEntry[]
}

const MAX_ENTRIES = 100_000
const MAX_UNPACKED_BYTES = 4 * 1024 ** 3
/** Above this an entry is a bomb: deflate itself can't do more than 1,032 to 1. */
const MAX_RATIO = 1100
const [LINK, TYPE_MASK] = [0o120000, 0o170000]

const openZip = promisify<string, { lazyEntries: true; autoClose: false; strictFileNames: true }, ZipFile>(open)

/** Reads an archive; throws {@link ArchiveError} on one that is hostile, broken, or has no Dockerfile. */
export const readArchive = async (file: string): Promise<Archive> => {
  const zip = await openZip(file, { lazyEntries: true, autoClose: false, strictFileNames: true }).catch(
    (error: Error) => {
      throw new ArchiveError("ARCHIVE_INVALID", `The code artifact is not a valid zip archive: ${error.message}`)
    },
  )
  try {
    return await readEntries(zip)
  } catch (error) {
    if (error instanceof ArchiveError) throw error
    throw new ArchiveError(
      "ARCHIVE_INVALID",
      `The code artifact is not a valid zip archive: ${(error as Error).message}`,
    )
  } finally {
    zip.close()
  }
}

const invalid = (message: string): never => {
  throw new ArchiveError("ARCHIVE_INVALID", `The code artifact is refused: ${message}`)
}

const readEntries = async (zip: ZipFile): Promise<Archive> => {
  if (zip.entryCount > MAX_ENTRIES) invalid(`it has more than ${MAX_ENTRIES} entries`)
  const entries: ArchiveEntry[] = []
  const seen = new Set<string>()
  let unpackedBytes = 0
  let dockerfile: string | undefined
  for await (const entry of entriesOf(zip)) {
    const path = entry.fileName.replace(/\/+$/, "")
    if (path.split("/").some((part) => part === ".." || part === "." || part === "") || /[\0\\]/.test(path))
      invalid(`the name '${path.slice(0, 100)}' is not a plain relative path`)
    if (seen.has(path)) invalid(`the name '${path.slice(0, 100)}' is there twice`)
    seen.add(path)
    if (entry.isEncrypted()) invalid(`'${path.slice(0, 100)}' is encrypted`)
    unpackedBytes += entry.uncompressedSize
    if (unpackedBytes > MAX_UNPACKED_BYTES || entry.uncompressedSize > MAX_RATIO * Math.max(entry.compressedSize, 1024))
      invalid("it would be too large unpacked")
    const type = (entry.externalFileAttributes >>> 16) & TYPE_MASK
    const kind = entry.fileName.endsWith("/") ? "directory" : type === LINK ? "link" : "file"
    if (kind === "file" && path === "Dockerfile") dockerfile = await readText(zip, entry)
    entries.push({
      path,
      kind,
      mode: (entry.externalFileAttributes >>> 16) & 0o7777,
      digest: await digestOf(zip, entry),
    })
  }
  if (dockerfile === undefined)
    throw new ArchiveError("ARCHIVE_DOCKERFILE_NOT_FOUND", "The code artifact has no Dockerfile at its root.")
  return { dockerfile, entries }
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

const readStream = (zip: ZipFile, entry: Entry, decompress: boolean): Promise<Readable> =>
  new Promise((resolve, reject) => {
    const take = (error: Error | null, stream?: Readable) =>
      stream === undefined ? reject(error ?? new Error("no data")) : resolve(stream)
    if (decompress) zip.openReadStream(entry, take)
    else zip.openReadStream(entry, { decompress: entry.compressionMethod === 8 ? false : null } as never, take)
  })

const readText = async (zip: ZipFile, entry: Entry): Promise<string> => {
  if (entry.uncompressedSize > MAX_DOCKERFILE_BYTES)
    invalid(`its Dockerfile is larger than ${MAX_DOCKERFILE_BYTES} bytes`)
  const chunks: Buffer[] = []
  for await (const chunk of await readStream(zip, entry, true)) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString("utf8")
}

const digestOf = async (zip: ZipFile, entry: Entry): Promise<string> => {
  const hash = createHash("sha256").update(`${entry.compressionMethod} ${entry.uncompressedSize} ${entry.crc32} `)
  if (entry.compressedSize > 0)
    for await (const chunk of await readStream(zip, entry, false)) hash.update(chunk as Buffer)
  return hash.digest("hex")
}
