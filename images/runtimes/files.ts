/** What is in `/var/runtime` of each runtime: our own bootstraps, one folder per language. */
import { readdir, readFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"

export type Language = "nodejs" | "python" | "provided"

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

const MORE: Readonly<Record<Language, () => Promise<readonly RuntimeFile[]>>> = {
  nodejs: async () => [await bundled()],
  python: async () => {
    const all = await readdir(new URL("python", import.meta.url), { recursive: true })
    const modules = all.filter((name) => name.endsWith(".py"))
    return Promise.all(modules.toSorted().map((name) => file("python", name)))
  },
  provided: async () => [],
}

/** The files of a language's `/var/runtime`; `bootstrap` is what is started. */
export const runtimeFiles = async (language: Language): Promise<readonly RuntimeFile[]> => [
  await file(language, "bootstrap", 0o755),
  ...(await MORE[language]()),
]
