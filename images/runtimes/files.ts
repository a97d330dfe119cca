/** Files of ours that a runtime's disk has: as they are in a language's folder, or compiled from what is there. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { compileC } from "../compile-c.ts"

export interface RuntimeFile {
  /** It may be in a directory. */
  readonly name: string
  readonly content: Buffer
  readonly mode: number
}

export const folderOf = (language: string): URL => new URL(`${language}/`, import.meta.url)

export const fileIn = async (folder: URL, name: string, mode = 0o644): Promise<RuntimeFile> => ({
  name,
  content: await readFile(new URL(name, folder)),
  mode,
})

/** All whose names end so, in their directories. */
export const filesIn = async (folder: URL, suffix: string): Promise<readonly RuntimeFile[]> => {
  const all = await readdir(folder, { recursive: true })
  const names = all.filter((name) => name.endsWith(suffix))
  return Promise.all(names.toSorted().map((name) => fileIn(folder, name)))
}

/** What only a library for the interpreter's process can do; it needs nothing but the process. */
export const compiledIn = async (folder: URL, source: string, name: string): Promise<RuntimeFile> => {
  const directory = await mkdtemp(join(tmpdir(), "torpor-runtime-"))
  const library = join(directory, name)
  try {
    const flags = ["-shared", "-fPIC", "-nostdlib"]
    await compileC(new URL(source, folder), library, flags, AbortSignal.timeout(COMPILE_TIMEOUT_MS))
    return { name, content: await readFile(library), mode: 0o644 }
  } finally {
    await rm(directory, { recursive: true })
  }
}
const COMPILE_TIMEOUT_MS = 60_000
