import { createHash, randomUUID } from "node:crypto"
import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises"
import { join } from "node:path"
import { messageOf, OperatorError } from "../src/errors.ts"
import { lock } from "../src/file-lock.ts"
import { makeDirectories } from "../src/make-directories.ts"

export type Progress = (line: string) => void

export interface Recipe {
  /** The first half of its directory's name. */
  readonly kind: string
  /** Everything that decides what comes out: versions, package lists, the text of our own files. */
  readonly ingredients: readonly (string | Buffer)[]
  /** Makes the artefact's files in an empty directory. */
  build(directory: string, signal: AbortSignal): Promise<void>
}

/** The text of files of ours that go into an artefact. */
export const readSources = (...urls: URL[]): Promise<Buffer[]> => Promise.all(urls.map((url) => readFile(url)))

export interface Artifact {
  readonly directory: string
  /**
   * Of what was made, not of its recipe: made once more it has other blocks and another hash, and nothing that stands on the first is
   * taken for something that stands on the second.
   */
  readonly hash: string
}

const recipeHashOf = ({ ingredients }: Recipe): string => {
  const digest = createHash("sha256")
  for (const ingredient of ingredients) digest.update(`${ingredient.length}:`).update(ingredient)
  return digest.digest("hex").slice(0, 16)
}

const parentOf = (cacheDirectory: string) => join(cacheDirectory, "artifacts")

/** An artefact that is in the cache already; nothing is built. */
export const findArtifact = async (cacheDirectory: string, recipe: Recipe): Promise<Artifact | undefined> => {
  const parent = parentOf(cacheDirectory)
  // Earlier daemons gave no digits of their own. Where one makes its own beside ours, ours stays what is found.
  const name = new RegExp(`^${recipe.kind}-${recipeHashOf(recipe)}(-[0-9a-f]{8})?$`)
  const entries = await readdir(parent).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return []
    throw error
  })
  const found = entries.filter((entry) => name.test(entry)).toSorted((a, b) => (a < b ? 1 : -1))[0]
  return found === undefined ? undefined : { directory: join(parent, found), hash: found.slice(recipe.kind.length + 1) }
}

/**
 * The directory of an artefact, `<cache>/artifacts/<kind>-<hash of its recipe>-<8 digits of its own>`, built if it isn't there yet.
 * Safe against two builders (a lock that ends with its process) and against being killed half-way: a directory has its name only
 * when all of it is on disk.
 */
export const ensureArtifact = async (
  cacheDirectory: string,
  recipe: Recipe,
  onProgress: Progress,
  signal: AbortSignal,
): Promise<Artifact> => {
  const before = await findArtifact(cacheDirectory, recipe)
  if (before !== undefined) return before
  const parent = parentOf(cacheDirectory)
  await makeDirectories(parent, 0o755).catch((error: unknown) => {
    throw new OperatorError(`Nothing can be kept in the cache, ${cacheDirectory}: ${messageOf(error)}`)
  })
  await using _ = await lock(join(parent, `.${recipe.kind}.lock`), signal, () =>
    onProgress(`${recipe.kind}: waiting for another builder`),
  )
  const meanwhile = await findArtifact(cacheDirectory, recipe)
  if (meanwhile !== undefined) return meanwhile
  await removeLeftovers(parent, recipe.kind)
  const startedAt = performance.now()
  onProgress(`${recipe.kind}: building`)
  const hash = `${recipeHashOf(recipe)}-${randomUUID().slice(0, 8)}`
  const name = `${recipe.kind}-${hash}`
  const directory = join(parent, name)
  const temporary = join(parent, `.${name}.building`)
  await mkdir(temporary)
  await recipe.build(temporary, signal)
  for (const file of await readdir(temporary)) await sync(join(temporary, file))
  await sync(temporary)
  await rename(temporary, directory)
  await sync(parent)
  onProgress(`${recipe.kind}: built in ${((performance.now() - startedAt) / 1000).toFixed(1)} s (${name})`)
  return { directory, hash }
}

/** What a builder that was killed left; the lock says that none is at work. What may still write there resists, and is tried again next time. */
const removeLeftovers = async (parent: string, kind: string) => {
  for (const entry of await readdir(parent))
    if (entry.startsWith(`.${kind}-`) && entry.endsWith(".building"))
      await rm(join(parent, entry), { recursive: true, force: true, maxRetries: 3 }).catch(() => {})
}

const sync = async (path: string) => {
  const handle = await open(path, "r")
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
