import { fileURLToPath } from "node:url"
import { build } from "esbuild"

export interface AgentBundle {
  readonly content: Buffer
  /** The files that it is made of, by their paths. */
  readonly sources: readonly string[]
}

/** The agent in one file, as it is on the system disk. */
export const bundleAgent = async (): Promise<AgentBundle> => {
  const { outputFiles, metafile } = await build({
    absWorkingDir: "/",
    entryPoints: [fileURLToPath(new URL("../agent/main.ts", import.meta.url))],
    bundle: true,
    write: false,
    metafile: true,
    platform: "node",
    target: "node24",
    format: "esm",
    minify: true,
  })
  const [file] = outputFiles
  if (file === undefined) throw new Error("The agent was not bundled")
  return { content: Buffer.from(file.contents), sources: Object.keys(metafile.inputs).map((path) => `/${path}`) }
}
