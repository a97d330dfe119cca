/** The peer: the same application with the same interpreter, started cold on the host by runc, in namespaces of its own but for the network. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { createServer } from "node:net"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { nodeBinary } from "../images/node-binary.ts"
import { benchApp } from "./app.ts"
import { untilAnswer } from "./http.ts"

export interface Runc extends AsyncDisposable {
  /** From `runc run` to the first answer, then its end; in ms. */
  start(): Promise<number>
}

const LINKS = ["bin", "lib", "lib64", "sbin"]

/** What runc starts: a server whose answers count from 1, on the port in its environment. */
export interface RuncApp {
  /** With our own Node, or what there is of the language. */
  readonly argv: readonly string[]
  /** In `/app`. */
  readonly files: Readonly<Record<string, string>>
  /** Files and directories of this machine, by where it finds them. */
  readonly binds?: Readonly<Record<string, string>>
  /** The system that it finds; this machine's own when left out. */
  readonly system?: string
}

export const nodeApp: RuncApp = {
  argv: ["/app/node", "server.js"],
  files: { "server.js": benchApp["server.js"] },
  binds: { "/app/node": nodeBinary().path },
}

/** Prepares the bundle; the caller disposes it. */
export const openRunc = async (app: RuncApp = nodeApp): Promise<Runc> => {
  const bundle = await mkdtemp(join(tmpdir(), "torpor-bench-runc-"))
  const root = join(bundle, "rootfs")
  for (const folder of ["usr", "app", "proc", "dev", "sys", "tmp"]) await mkdir(join(root, folder), { recursive: true })
  const port = await freePort()
  for (const [name, content] of Object.entries(app.files)) await writeFile(join(root, "app", name), content)
  await writeFile(join(bundle, "config.json"), JSON.stringify(configOf(app, port)))
  await Promise.all(LINKS.map((name) => mkdir(join(root, name), { recursive: true })))
  let started = 0
  let end = async () => {}
  return {
    async start() {
      const id = `torpor-bench-${process.pid}-${++started}`
      const startedAt = performance.now()
      const child = spawn("runc", ["run", "--bundle", bundle, id], { stdio: ["ignore", "ignore", "pipe"] })
      let words = ""
      child.stderr.setEncoding("utf8").on("data", (text: string) => (words = (words + text).slice(-2000)))
      const ended = once(child, "close")
      end = async () => {
        await once(spawn("runc", ["kill", id, "KILL"], { stdio: "ignore" }), "close")
        await ended
      }
      const failed = ended.then(() => Promise.reject(new Error(`runc ended: ${words}`)))
      await Promise.race([untilAnswer("127.0.0.1", port), failed])
      const tookMs = performance.now() - startedAt
      await end()
      return tookMs
    },
    async [Symbol.asyncDispose]() {
      await end()
      await rm(bundle, { recursive: true, force: true })
    },
  }
}

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

const bind = (source: string, destination: string) => ({
  source,
  destination,
  type: "bind",
  options: ["rbind", "ro", "nosuid"],
})

const configOf = ({ argv, binds = {}, system = "/" }: RuncApp, port: number) => ({
  ociVersion: "1.0.2",
  root: { path: "rootfs", readonly: true },
  hostname: "bench",
  process: {
    terminal: false,
    user: { uid: 0, gid: 0 },
    args: argv,
    env: ["PATH=/usr/bin:/bin", "GREETING=hello", `PORT=${port}`],
    cwd: "/app",
    noNewPrivileges: true,
  },
  mounts: [
    { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
    { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755", "size=65536k"] },
    ...["usr", ...LINKS].map((name) => bind(join(system, name), `/${name}`)),
    ...Object.entries(binds).map(([to, from]) => bind(from, to)),
  ],
  linux: { namespaces: ["pid", "mount", "ipc", "uts"].map((type) => ({ type })) },
})
