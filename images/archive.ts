/**
 * What this host reads of a stranger's archive: its directory, the compressed bytes behind it (to know them again, never to unpack
 * them), and its Dockerfile and .dockerignore. Names in it are compared and never used as paths here.
 */
import { createHash } from "node:crypto"
import { open, type ZipFile, type Entry } from "yauzl"
import { stat } from "node:fs/promises"
import { promisify } from "node:util"
import type { Readable } from "node:stream"
import { crc32 } from "node:zlib"
import { ArchiveError } from "./archive-error.ts"
import { BUILD_SETTINGS_FILE, parseBuildSettings, type BuildSettings } from "./build-settings.ts"
import { parseIgnore } from "./dockerignore.ts"
import { createContext, type Context, type ContextEntry } from "./context.ts"
import { MAX_DOCKERFILE_BYTES } from "./dockerfile/text/instructions.ts"

export interface Archive {
  readonly dockerfile: string
  readonly settings: BuildSettings
  /** Without what .dockerignore leaves out. */
  readonly context: Context
  /** What that is: paths with all that is below them, none of them in another. */
  readonly excluded: readonly string[]
}

const MAX_ENTRIES = 100_000
const MAX_UNPACKED_BYTES = 4 * 1024 ** 3
/** Above this an entry is a bomb: deflate itself can't do more than 1,032 to 1. */
const MAX_RATIO = 1100
/** What Linux takes as a path, and as one part of it. */
const [MAX_PATH_BYTES, MAX_PART_BYTES] = [4095, 255]
/** A Dockerfile's own comes before the general one. */
const [DOCKERFILE, IGNORES] = ["Dockerfile", ["Dockerfile.dockerignore", ".dockerignore"]]
const TEXTS = [DOCKERFILE, BUILD_SETTINGS_FILE, ...IGNORES]
/** The names of what is left out are told to the guest in one request. */
const MAX_EXCLUDED_CHARACTERS = 2 * 1024 * 1024
/** All names' parts together: what the tree of them may take. */
const MAX_PARTS = 1_000_000
const [FILE, DIRECTORY, LINK, TYPE_MASK] = [0o100000, 0o040000, 0o120000, 0o170000]

const openZip = promisify<string, { lazyEntries: true; autoClose: false; strictFileNames: true }, ZipFile>(open)

/** Reads an archive; throws {@link ArchiveError} on one that is hostile, broken, or has no Dockerfile. */
export const readArchive = async (file: string): Promise<Archive> => {
  const zip = await openZip(file, { lazyEntries: true, autoClose: false, strictFileNames: true }).catch(
    (error: Error) => {
      throw new ArchiveError("ARCHIVE_INVALID", `The code artifact is not a valid zip archive: ${error.message}`)
    },
  )
  try {
    return await readEntries(zip, (await stat(file)).size)
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

const readEntries = async (zip: ZipFile, archiveBytes: number): Promise<Archive> => {
  if (zip.entryCount > MAX_ENTRIES) invalid(`it has more than ${MAX_ENTRIES} entries`)
  const entries: ContextEntry[] = []
  const seen = new Set<string>()
  let [packedBytes, unpackedBytes, parts] = [0, 0, 0]
  const texts = new Map<string, string>()
  for await (const entry of entriesOf(zip)) {
    const path = cleanPath(entry.fileName)
    if (path === "") continue
    if (seen.has(path)) invalid(`the name '${path.slice(0, 100)}' is there twice`)
    seen.add(path)
    parts += path.split("/").length
    if (parts > MAX_PARTS) invalid("its folders are nested too deep")
    if (entry.isEncrypted()) invalid(`'${path.slice(0, 100)}' is encrypted`)
    unpackedBytes += entry.uncompressedSize
    if (unpackedBytes > MAX_UNPACKED_BYTES || entry.uncompressedSize > MAX_RATIO * Math.max(entry.compressedSize, 1024))
      invalid("it would be too large unpacked")
    packedBytes += entry.compressedSize
    if (packedBytes > archiveBytes) invalid("its entries overlap")
    const kind = kindOf(entry, path)
    if (kind === "file" && TEXTS.includes(path)) texts.set(path, await readText(zip, entry, path))
    entries.push({
      path,
      kind,
      mode: (entry.externalFileAttributes >>> 16) & 0o7777,
      digest: await digestOf(zip, entry),
    })
  }
  const dockerfile = texts.get(DOCKERFILE)
  if (dockerfile === undefined) {
    const below = entries.find(({ path, kind }) => kind === "file" && path.endsWith(`/${DOCKERFILE}`))
    const hint =
      below === undefined ? "" : ` There is '${below.path.slice(0, 100)}': zip what is in the folder, not the folder.`
    throw new ArchiveError("ARCHIVE_DOCKERFILE_NOT_FOUND", `The code artifact has no Dockerfile at its root.${hint}`)
  }
  const ignore = IGNORES.map((name) => texts.get(name)).find((text) => text !== undefined)
  const settings = texts.get(BUILD_SETTINGS_FILE)
  const ignored = ignore === undefined ? [] : parseIgnore(ignore).excludedOf(entries.map(({ path }) => path))
  const excluded = settings === undefined ? ignored : [...new Set([...ignored, BUILD_SETTINGS_FILE])]
  if (excluded.reduce((sum, path) => sum + path.length, 0) > MAX_EXCLUDED_CHARACTERS)
    invalid("its .dockerignore leaves out too many files one by one; let it name their folders")
  return {
    dockerfile,
    settings: parseBuildSettings(settings),
    excluded,
    context: createContext(without(entries, new Set(excluded))),
  }
}

const without = (entries: readonly ContextEntry[], excluded: ReadonlySet<string>): readonly ContextEntry[] =>
  excluded.size === 0
    ? entries
    : entries.filter(({ path }) => {
        for (let end = path.length; end !== -1; end = path.lastIndexOf("/", end - 1))
          if (excluded.has(path.slice(0, end))) return false
        return true
      })

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

const kindOf = (entry: Entry, path: string): ContextEntry["kind"] => {
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

const readStream = (zip: ZipFile, entry: Entry, decompress: boolean): Promise<Readable> =>
  new Promise((resolve, reject) => {
    const take = (error: Error | null, stream?: Readable) =>
      stream === undefined ? reject(error ?? new Error("no data")) : resolve(stream)
    if (decompress) zip.openReadStream(entry, take)
    else zip.openReadStream(entry, { decompress: entry.compressionMethod === 8 ? false : null } as never, take)
  })

const readText = async (zip: ZipFile, entry: Entry, name: string): Promise<string> => {
  if (entry.uncompressedSize > MAX_DOCKERFILE_BYTES) invalid(`its ${name} is larger than ${MAX_DOCKERFILE_BYTES} bytes`)
  const chunks: Buffer[] = []
  for await (const chunk of await readStream(zip, entry, true)) chunks.push(chunk as Buffer)
  const bytes = Buffer.concat(chunks)
  if (crc32(bytes) !== entry.crc32) invalid(`the checksum of its ${name} is wrong`)
  return bytes.toString("utf8")
}

const digestOf = async (zip: ZipFile, entry: Entry): Promise<string> => {
  const hash = createHash("sha256").update(`${entry.compressionMethod} ${entry.uncompressedSize} ${entry.crc32} `)
  if (entry.compressedSize > 0)
    for await (const chunk of await readStream(zip, entry, false)) hash.update(chunk as Buffer)
  return hash.digest("hex")
}
