import { fileURLToPath } from "node:url"
import { build } from "esbuild"

/** A program beside this file with all that it imports, as one module for Node. */
export const bundleOf = async (name: string): Promise<string> => {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL(name, import.meta.url))],
    bundle: true,
    write: false,
    platform: "node",
    target: "node20",
    format: "esm",
    banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
  })
  return outputFiles[0]?.text ?? ""
}
