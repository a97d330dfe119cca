/** Functions of Node. */
import { fileURLToPath } from "node:url"
import { build } from "esbuild"
import { compiledIn, fileIn, type RuntimeFile } from "../files.ts"
import type { LanguageRuntime } from "../language.ts"

const FOLDER = new URL(".", import.meta.url)

const TRAINING = ["module.mjs", "script.cjs", "training-parts.mjs"]

export const NODEJS: LanguageRuntime = {
  files: async () => [
    await bundled(),
    await compiledIn(FOLDER, "reseed.c", "reseed.node"),
    ...(await Promise.all(TRAINING.map((name) => fileIn(FOLDER, `training/${name}`)))),
  ],
  trainings: ["module.handler", "script.handler"],
  isMadeForSnapshots: true,
  variablesOf(runtime) {
    const version = runtime.replace("nodejs", "node").replace(".x", "")
    return {
      NODE_PATH: `/opt/nodejs/${version}/node_modules:/opt/nodejs/node_modules:/var/runtime/node_modules:/var/runtime:/var/task`,
    }
  },
}

/** One file, for every Node that is a runtime. */
const bundled = async (): Promise<RuntimeFile> => {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL("main.ts", FOLDER))],
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
