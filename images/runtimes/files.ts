/** What is in `/var/runtime` of each runtime: our own bootstraps, one folder per language. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"
import { compileC } from "../compile-c.ts"

export type Language = "nodejs" | "python" | "java" | "ruby" | "provided"

export interface RuntimeFile {
  /** It may be in a directory. */
  readonly name: string
  readonly content: Buffer
  readonly mode: number
}

const file = async (language: Language, name: string, mode = 0o644): Promise<RuntimeFile> => ({
  name,
  content: await readFile(new URL(`${language}/${name}`, import.meta.url)),
  mode,
})

/** One file, for every Node that is a runtime. */
const bundled = async (): Promise<RuntimeFile> => {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL("nodejs/main.ts", import.meta.url))],
    bundle: true,
    write: false,
    platform: "node",
    target: "node20",
    format: "esm",
  })
  const [output] = outputFiles
  if (output === undefined) throw new Error("The runtime of Node was not bundled")
  return { name: "index.mjs", content: Buffer.from(output.contents), mode: 0o644 }
}

/** What only a library for the interpreter's process can do; it needs nothing but the process. */
const compiled = async (source: string, name: string): Promise<RuntimeFile> => {
  const directory = await mkdtemp(join(tmpdir(), "torpor-runtime-"))
  const library = join(directory, name)
  try {
    const flags = ["-shared", "-fPIC", "-nostdlib"]
    await compileC(new URL(source, import.meta.url), library, flags, AbortSignal.timeout(COMPILE_TIMEOUT_MS))
    return { name, content: await readFile(library), mode: 0o644 }
  } finally {
    await rm(directory, { recursive: true })
  }
}
const COMPILE_TIMEOUT_MS = 60_000

const training = (language: Language, names: readonly string[]) =>
  Promise.all(names.map((name) => file(language, `training/${name}`)))

/** As they are, in their directories. */
const sources = async (language: Language, suffix: string): Promise<readonly RuntimeFile[]> => {
  const all = await readdir(new URL(language, import.meta.url), { recursive: true })
  const names = all.filter((name) => name.endsWith(suffix))
  return Promise.all(names.toSorted().map((name) => file(language, name)))
}

const MORE: Readonly<Record<Language, () => Promise<readonly RuntimeFile[]>>> = {
  nodejs: async () => [
    await bundled(),
    await compiled("nodejs/reseed.c", "reseed.node"),
    ...(await training("nodejs", ["module.mjs", "script.cjs"])),
  ],
  python: () => sources("python", ".py"),
  // Its classes are compiled by the Java that is its interpreter, when there is one.
  java: async () => [await compiled("java/become.c", "libbecome.so")],
  ruby: () => sources("ruby", ".rb"),
  provided: async () => [],
}

const read = async (language: Language): Promise<readonly RuntimeFile[]> => [
  await file(language, "bootstrap", 0o755),
  ...(await MORE[language]()),
]

/** Read and compiled once. */
const known = new Map<Language, Promise<readonly RuntimeFile[]>>()

/** The files of a language's `/var/runtime`; `bootstrap` is what is started. */
export const runtimeFiles = (language: Language): Promise<readonly RuntimeFile[]> => {
  const files = known.get(language) ?? read(language)
  known.set(language, files)
  return files
}
