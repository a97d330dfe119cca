import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { createServer, type AddressInfo, type Server, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { processesNaming } from "../fixtures/processes.ts"
import { PLAIN, runToEnd, torpor } from "./torpor.ts"

let directory: string

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "torpor-setup-"))
})
afterAll(() => rm(directory, { recursive: true }))

/** A cache of its own, which has to be filled from this mirror. */
const withMirror = async (mirror: string, cache: string) => {
  const settings = `${cache}.json`
  await writeFile(settings, JSON.stringify({ debian: { mirror } }))
  return { ...PLAIN, TORPOR_DATA_DIR: `${cache}-data`, TORPOR_CACHE_DIR: cache, TORPOR_CONFIG: settings }
}
const UNREACHABLE =
  'The package mirror http://127.0.0.1:9/debian cannot be reached: check the network, or name another as "mirror" in TORPOR_CONFIG.\n'

test("Without the guests' mirror it says so in one sentence, also to somebody who reads no further than the errors", async () => {
  // Nothing listens there.
  const env = await withMirror("http://127.0.0.1:9/debian", join(directory, "cache"))
  expect(await runToEnd(torpor("setup"), env)).toEqual({ code: 1, stdout: "kernel: building\n", stderr: UNREACHABLE })
  const unread = await runToEnd(["bash", "-o", "pipefail", "-c", '"$@" | true', "bash", ...torpor("setup")], env)
  expect(unread).toEqual({ code: 1, stdout: "", stderr: UNREACHABLE })
})

describe("A set-up that is stopped", () => {
  let silent: Server
  let asked: Promise<unknown>
  const sockets: Socket[] = []
  beforeEach(async () => {
    // A mirror that takes connections and never answers.
    silent = createServer((socket) => void sockets.push(socket)).listen(0, "127.0.0.1")
    await once(silent, "listening")
    asked = once(silent, "connection")
  })
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy()
    silent.close()
    await once(silent, "close")
  })

  test.each(["SIGTERM", "SIGINT", "SIGHUP"] as const)("by %s says so and leaves nothing running", async (name) => {
    const cache = join(directory, name)
    const env = await withMirror(`http://127.0.0.1:${(silent.address() as AddressInfo).port}/debian`, cache)
    const [file = "", ...args] = torpor("setup")
    const child = spawn(file, args, { env, stdio: ["ignore", "ignore", "pipe"] })
    const said = text(child.stderr)
    await asked
    child.kill(name)
    expect(await once(child, "exit")).toEqual([130, null])
    expect(await said).toBe(`Stopped by ${name}.\n`)
    expect(await processesNaming(cache)).toEqual([])
  })
})
