import { spawn } from "node:child_process"
import { join } from "node:path"
import { text } from "node:stream/consumers"

const MAIN = new URL("../../src/main.ts", import.meta.url).pathname

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs any program to its end with exactly this environment, whatever its exit code. */
export const runToEnd = async (
  command: readonly string[],
  env: Readonly<Record<string, string>>,
  cwd = "/",
): Promise<Ended> => {
  const [file = "", ...args] = command
  const child = spawn(file, args, { env, cwd, stdio: ["ignore", "pipe", "pipe"] })
  const [stdout, stderr, code] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    new Promise<number | null>((resolve, reject) => child.once("error", reject).once("close", resolve)),
  ])
  return { code, stdout, stderr }
}

/** What starts `torpor` under the Node that runs the tests; words to put behind another program's. */
export const torpor = (...args: string[]) => [process.execPath, MAIN, ...args]

/** Nothing of the tests' own environment; what Node has made of the sources, as where `torpor` is started by its own name. */
export const PLAIN = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  HOME: "/root",
  NODE_COMPILE_CACHE: join(process.env["TORPOR_CACHE_DIR"] ?? "/var/cache/torpor", "test/compiled"),
}
