/** A directory as the archive that an image is built from. */
import { createWriteStream } from "node:fs"
import { lstat, readdir, readFile, readlink, stat } from "node:fs/promises"
import { join, relative, resolve } from "node:path"
import { pipeline } from "node:stream/promises"
import { ZipFile } from "yazl"
import { BUILD_SETTINGS_FILE, parseBuildSettings, type BuildSettings } from "../../../images/build-settings.ts"
import { parseIgnore } from "../../../images/dockerignore.ts"
import { messageOf, OperatorError } from "../../errors.ts"

export interface PackOptions {
  readonly directory: string
  /** Instead of the Dockerfile at its root. */
  readonly dockerfile: string | undefined
  /** What is asked for besides, over what the directory's own file of settings says. */
  readonly settings: BuildSettings
}

export interface Packed {
  readonly files: number
  readonly bytes: number
}

/** More than an archive may have, and more than anybody waits for. */
const MAX_PATHS = 1_000_000
const [DOCKERFILE, OWN_IGNORE] = ["Dockerfile", "Dockerfile.dockerignore"]
/** Whatever is ignored, the build itself needs these. */
const KEPT = new Set([DOCKERFILE, OWN_IGNORE, ".dockerignore"])
const LINK_MODE = 0o120777

interface Found {
  /** Relative, with slashes. */
  readonly path: string
  readonly kind: "file" | "directory" | "link"
}

/** Throws an {@link OperatorError} when there is nothing to be built: before anything else is looked for, or made. */
export const checkDirectory = async (options: Pick<PackOptions, "directory" | "dockerfile">): Promise<void> =>
  void (await dockerfileOf(options))

/** Writes the archive, without what .dockerignore leaves out. Throws an {@link OperatorError} about what cannot be in it. */
export const packDirectory = async (options: PackOptions, to: string, signal: AbortSignal): Promise<Packed> => {
  const { directory } = options
  const given = await dockerfileOf(options)
  const found = await findAll(directory, signal)
  const own = given.text === undefined ? await readText(join(directory, OWN_IGNORE)) : given.ignore
  const ignore = own ?? (await readText(join(directory, ".dockerignore")))
  const excluded = new Set(
    ignore === undefined ? [] : inWords(() => parseIgnore(ignore).excludedOf(found.map(({ path }) => path))),
  )
  const zip = new ZipFile()
  const failed = new Promise<never>((_, reject) => zip.once("error", reject))
  let files = 0
  for (const { path, kind } of found) {
    if (isBelow(path, excluded) && !KEPT.has(path)) continue
    if (path === BUILD_SETTINGS_FILE || (given.text !== undefined && (path === DOCKERFILE || path === OWN_IGNORE)))
      continue
    const full = join(directory, path)
    const { mtime, mode } = await lstat(full)
    if (kind === "directory") zip.addEmptyDirectory(path, { mtime, mode })
    else if (kind === "link")
      zip.addBuffer(Buffer.from(await readlink(full)), path, { mtime, mode: LINK_MODE, compress: false })
    else zip.addFile(full, path, { mtime, mode })
    files += kind === "directory" ? 0 : 1
  }
  const settings = await settingsOf(options)
  if (settings !== undefined) zip.addBuffer(Buffer.from(JSON.stringify(settings)), BUILD_SETTINGS_FILE)
  if (given.text !== undefined) zip.addBuffer(Buffer.from(given.text), DOCKERFILE)
  if (given.ignore !== undefined) zip.addBuffer(Buffer.from(given.ignore), OWN_IGNORE)
  zip.end()
  await Promise.race([pipeline(zip.outputStream, createWriteStream(to), { signal }), failed])
  return { files, bytes: (await stat(to)).size }
}

/** The named Dockerfile with the .dockerignore beside it that is its own; nothing when the one at the root is meant, which must be there. */
const dockerfileOf = async ({
  directory,
  dockerfile,
}: Pick<PackOptions, "directory" | "dockerfile">): Promise<{ text?: string; ignore?: string }> => {
  const stats = await stat(directory).catch(() => undefined)
  if (stats?.isDirectory() !== true)
    throw new OperatorError(`${directory} is no directory: name the one that the Dockerfile is in.`)
  if (dockerfile === undefined) {
    if ((await readText(join(directory, DOCKERFILE))) === undefined)
      throw new OperatorError(`There is no Dockerfile in ${directory}: name it with --file, or another directory.`)
    return {}
  }
  const text = await readText(dockerfile)
  if (text === undefined) throw new OperatorError(`There is no file ${dockerfile}.`)
  if (relative(resolve(directory), resolve(dockerfile)) === DOCKERFILE) return {}
  const ignore = await readText(`${dockerfile}.dockerignore`)
  return ignore === undefined ? { text } : { text, ignore }
}

const settingsOf = async ({ directory, settings }: PackOptions): Promise<BuildSettings | undefined> => {
  const text = await readText(join(directory, BUILD_SETTINGS_FILE))
  const own = inWords(() => parseBuildSettings(text))
  const all = { ...own, ...settings, arguments: { ...own.arguments, ...settings.arguments } }
  return Object.keys(all.arguments).length === 0 && all.target === undefined ? undefined : all
}

const findAll = async (directory: string, signal: AbortSignal): Promise<Found[]> => {
  const found: Found[] = []
  const visit = async (folder: string) => {
    signal.throwIfAborted()
    for (const entry of await readdir(join(directory, folder), { withFileTypes: true })) {
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`
      // Sockets and pipes are nothing that could be copied: Docker leaves them out too.
      const kind = entry.isDirectory()
        ? "directory"
        : entry.isSymbolicLink()
          ? "link"
          : entry.isFile()
            ? "file"
            : undefined
      if (kind === undefined) continue
      found.push({ path, kind })
      if (found.length > MAX_PATHS)
        throw new OperatorError(`There are more than ${MAX_PATHS} files below ${directory}: is it the right directory?`)
      if (kind === "directory") await visit(path)
    }
  }
  await visit("")
  return found.toSorted((one, other) => (one.path < other.path ? -1 : 1))
}

const isBelow = (path: string, excluded: ReadonlySet<string>): boolean => {
  for (let end = path.length; end !== -1; end = path.lastIndexOf("/", end - 1))
    if (excluded.has(path.slice(0, end))) return true
  return false
}

const readText = (path: string): Promise<string | undefined> =>
  readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined
    throw new OperatorError(`${path} cannot be read: ${error.message}`)
  })

const inWords = <Answer>(work: () => Answer): Answer => {
  try {
    return work()
  } catch (error) {
    throw new OperatorError(messageOf(error))
  }
}
