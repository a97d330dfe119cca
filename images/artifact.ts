import { createHash, randomUUID } from "node:crypto"
import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises"
import { existsSync } from "node:fs"
import { basename, join } from "node:path"
import { lock } from "../src/file-lock.ts"

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
  readonly hash: string
}

const artifactOf = (cacheDirectory: string, { kind, ingredients }: Recipe): Artifact & { parent: string } => {
  const digest = createHash("sha256")
  for (const ingredient of ingredients) digest.update(`${ingredient.length}:`).update(ingredient)
  const hash = digest.digest("hex").slice(0, 16)
  const parent = join(cacheDirectory, "artifacts")
  return { parent, directory: join(parent, `${kind}-${hash}`), hash }
}

/** An artefact that is in the cache already; nothing is built. */
export const findArtifact = (cacheDirectory: string, recipe: Recipe): Artifact | undefined => {
  const { directory, hash } = artifactOf(cacheDirectory, recipe)
  return existsSync(directory) ? { directory, hash } : undefined
}

/**
 * The directory of an artefact, `<cache>/artifacts/<kind>-<hash of its recipe>`, built if it isn't there yet.
 * Safe against two builders (a lock that ends with its process) and against being killed half-way: a directory has its name only
 * when all of it is on disk.
 */
export const ensureArtifact = async (
  cacheDirectory: string,
  recipe: Recipe,
  onProgress: Progress,
  signal: AbortSignal,
): Promise<Artifact> => {
  const { parent, directory, hash } = artifactOf(cacheDirectory, recipe)
  const found = { directory, hash }
  if (existsSync(directory)) return found
  await mkdir(parent, { recursive: true })
  await using _ = await lock(join(parent, `.${recipe.kind}.lock`), signal, () =>
    onProgress(`${recipe.kind}: waiting for another builder`),
  )
  if (existsSync(directory)) return found
  await removeLeftovers(parent, recipe.kind)
  const startedAt = performance.now()
  onProgress(`${recipe.kind}: building`)
  // What a killed builder has started may still write to its own.
  const temporary = join(parent, `.${basename(directory)}.${randomUUID().slice(0, 8)}.building`)
  await mkdir(temporary)
  await recipe.build(temporary, signal)
  for (const file of await readdir(temporary)) await sync(join(temporary, file))
  await sync(temporary)
  await rename(temporary, directory)
  await sync(parent)
  onProgress(
    `${recipe.kind}: built in ${((performance.now() - startedAt) / 1000).toFixed(1)} s (${basename(directory)})`,
  )
  return found
}

/** What a builder that was killed left; the lock says that none is at work. What resists is tried again next time. */
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
