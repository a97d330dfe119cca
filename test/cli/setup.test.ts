import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { PLAIN, runToEnd, torpor } from "./torpor.ts"

let directory: string

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "torpor-setup-"))
})
afterAll(() => rm(directory, { recursive: true }))

/** Directories of its own, and a mirror at a port where nothing listens. */
const withoutMirror = async () => {
  const settings = join(directory, "no-mirror.json")
  await writeFile(settings, JSON.stringify({ debian: { mirror: "http://127.0.0.1:9/debian" } }))
  return {
    ...PLAIN,
    TORPOR_DATA_DIR: join(directory, "data"),
    TORPOR_CACHE_DIR: join(directory, "cache"),
    TORPOR_CONFIG: settings,
  }
}
const UNREACHABLE =
  'The package mirror http://127.0.0.1:9/debian cannot be reached: check the network, or name another as "mirror" in TORPOR_CONFIG.\n'

test("Without the guests' mirror it says so in one sentence, also to somebody who reads no further than the errors", async () => {
  const env = await withoutMirror()
  expect(await runToEnd(torpor("setup"), env)).toEqual({ code: 1, stdout: "kernel: building\n", stderr: UNREACHABLE })
  const unread = await runToEnd(["bash", "-o", "pipefail", "-c", '"$@" | true', "bash", ...torpor("setup")], env)
  expect(unread).toEqual({ code: 1, stdout: "", stderr: UNREACHABLE })
})
