/**
 * What this host reads of a stranger's archive: its directory, the compressed bytes behind it (to know them again, never to unpack
 * them), and its Dockerfile and .dockerignore. Names in it are compared and never used as paths here.
 */
import { createHash } from "node:crypto"
import type { ZipFile, Entry } from "yauzl"
import { crc32 } from "node:zlib"
import { invalid, readStream, walkArchive } from "./archive-entries.ts"
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

const MAX_UNPACKED_BYTES = 4 * 1024 ** 3
/** A Dockerfile's own comes before the general one. */
const [DOCKERFILE, IGNORES] = ["Dockerfile", ["Dockerfile.dockerignore", ".dockerignore"]]
const TEXTS = [DOCKERFILE, BUILD_SETTINGS_FILE, ...IGNORES]
/** The names of what is left out are told to the guest in one request. */
const MAX_EXCLUDED_CHARACTERS = 2 * 1024 * 1024

/** Reads an archive; throws {@link ArchiveError} on one that is hostile, broken, or has no Dockerfile. */
export const readArchive = async (file: string): Promise<Archive> => {
  const entries: ContextEntry[] = []
  const texts = new Map<string, string>()
  await walkArchive(file, MAX_UNPACKED_BYTES, async ({ zip, entry, path, kind }) => {
    if (kind === "file" && TEXTS.includes(path)) texts.set(path, await readText(zip, entry, path))
    entries.push({
      path,
      kind,
      mode: (entry.externalFileAttributes >>> 16) & 0o7777,
      digest: await digestOf(zip, entry),
    })
  })
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
