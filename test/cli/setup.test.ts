import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises"
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
  // Nothing listens there; that a machine has no network at all is told in installation.test.ts.
  const env = await withMirror("http://127.0.0.1:9/debian", join(directory, "cache"))
  const unread = await runToEnd(["bash", "-o", "pipefail", "-c", '"$@" | true', "bash", ...torpor("setup")], env)
  expect(unread).toEqual({ code: 1, stdout: "", stderr: UNREACHABLE })
})

/** What a shell does first, in a mount namespace of its own. */
const behind = (script: string, ...words: string[]) =>
  runToEnd(["unshare", "--mount", "sh", "-ec", `${script}\nexec "$@"`, "sh", ...words], PLAIN)

describe("A machine that is unfit is told so in one sentence, before anything is done to it:", () => {
  test.each(["setup", "quickstart", "serve", "down"])("%s by somebody who is not root", async (command) => {
    // Whoever may read everything finds the checkout, wherever it is.
    const somebody = ["--reuid=65534", "--regid=65534", "--clear-groups"]
    const reader = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    expect(await runToEnd(["setpriv", ...somebody, ...reader, ...torpor(command)], PLAIN)).toEqual({
      code: 1,
      stdout: "",
      stderr: "Torpor makes network namespaces and jails: run this as root.\n",
    })
  })

  test.each(["setup", "quickstart"])("%s without /dev/net/tun", async (command) => {
    expect(await behind("mount -t tmpfs tmpfs /dev/net", ...torpor(command))).toEqual({
      code: 1,
      stdout: "",
      stderr: "There is no /dev/net/tun: load the module (`modprobe tun`), or give this container the device.\n",
    })
  })

  test.each(["TORPOR_DATA_DIR", "TORPOR_CACHE_DIR"])("too little disk for %s", async (variable) => {
    const small = join(directory, variable)
    await mkdir(small)
    const command = ["env", `${variable}=${small}/not/there/yet`, ...torpor("setup")]
    expect(await behind(`mount -t tmpfs -o size=3g tmpfs ${small}`, ...command)).toEqual({
      code: 1,
      stdout: "",
      stderr: `${small}/not/there/yet has 3.0 GiB free and 6 are needed: free some, or name other directories by TORPOR_CACHE_DIR and TORPOR_DATA_DIR.\n`,
    })
    expect(await readdir(small)).toEqual([])
  })
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
