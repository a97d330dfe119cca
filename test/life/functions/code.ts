/** Code of functions that is made of programs: compiled, or taken from a package. */
import { execFileSync } from "node:child_process"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { CLIENT_OF_RIC, HANDLER_OF_RIC } from "../../agent-guest/functions/ric.ts"

/** A static program, so that it is the same on whatever it runs on. */
export const compile = async (source: string): Promise<Buffer> => {
  const directory = await mkdtemp(join(tmpdir(), "torpor-bootstrap-"))
  try {
    await writeFile(join(directory, "bootstrap.c"), source)
    const program = join(directory, "bootstrap")
    execFileSync("gcc", ["-static", "-O1", "-s", "-o", program, join(directory, "bootstrap.c")])
    return await readFile(program)
  } finally {
    await rm(directory, { recursive: true })
  }
}

/** AWS's own client as a custom runtime, by the Node that the root file system has. */
export const ricFiles = async () => {
  const installed = dirname(fileURLToPath(import.meta.resolve("aws-lambda-ric")))
  return {
    "package.json": "{}",
    "index.js": HANDLER_OF_RIC,
    bootstrap: "#!/bin/sh\nexec /usr/local/bin/node /var/task/ric/index.mjs\n",
    "ric/index.mjs": await readFile(join(installed, "index.mjs")),
    "ric/package.json": await readFile(join(installed, "package.json")),
    "ric/rapid-client.node/package.json": '{"type":"commonjs"}',
    "ric/rapid-client.node/index.js": CLIENT_OF_RIC,
  }
}
