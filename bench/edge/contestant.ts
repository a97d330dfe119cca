/** A proxy on Node in a process of its own, on one core. Run by itself it is that process. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { readFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { openBareProxy } from "./bare-proxy.ts"
import { openOurEdge } from "./our-edge.ts"

export interface TlsFiles {
  /** PEM: the leaf, then the CA. */
  readonly certificateFile: string
  readonly keyFile: string
}

/** How a client comes in. */
export interface Entrance {
  /** Of this machine, when absent. */
  readonly address?: string
  readonly port: number
  /** What `Host` says. */
  readonly host: string
  /** Besides the host, as `Name: value`. */
  readonly headers: Readonly<Record<string, string>>
}

export interface Contestant extends Entrance, AsyncDisposable {
  readonly pid: number
  /** What it holds after two full collections, in MiB. */
  memoryMiB(): Promise<number>
}

const KINDS = { edge: openOurEdge, node: openBareProxy } as const
export type Kind = keyof typeof KINDS

export interface Ports {
  /** nginx: a small body, a large file. */
  readonly app: number
  /** WebSockets that echo, and a sink of uploads. */
  readonly echo: number
}

/** Besides what every process is started with. */
export interface Start {
  /** Node's. */
  readonly flags?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
}

/** Starts one. */
export const startContestant = async (
  kind: Kind,
  core: number,
  tls: TlsFiles,
  ports: Ports,
  { flags = [], environment = {} }: Start = {},
): Promise<Contestant> => {
  const child = spawn(
    "taskset",
    [
      "-c",
      String(core),
      process.execPath,
      "--expose-gc",
      ...flags,
      fileURLToPath(import.meta.url),
      "serve",
      kind,
      JSON.stringify({ tls, ports }),
    ],
    { env: { ...process.env, ...environment }, stdio: ["ignore", "inherit", "inherit", "ipc"] },
  )
  const exit = once(child, "exit") as Promise<[number | null]>
  const first = await Promise.race([once(child, "message"), exit.then(() => [])])
  const entrance = first[0] as Entrance | undefined
  if (entrance === undefined) throw new Error(`The contestant '${kind}' did not start`)
  return {
    ...entrance,
    pid: child.pid ?? 0,
    async memoryMiB() {
      child.send("collect")
      const [bytes] = (await once(child, "message")) as [number]
      return bytes / 1024 ** 2
    },
    async [Symbol.asyncDispose]() {
      child.disconnect()
      const [code] = await exit
      if (code !== 0) throw new Error(`The contestant '${kind}' ended with ${code}`)
    },
  }
}

if (process.argv[2] === "serve") {
  const { tls, ports } = JSON.parse(process.argv[4] ?? "") as { tls: TlsFiles; ports: Ports }
  const [certificate, key] = await Promise.all([readFile(tls.certificateFile, "utf8"), readFile(tls.keyFile, "utf8")])
  const { entrance, close } = await KINDS[process.argv[3] as Kind]({ certificate, key }, ports)
  process.on("message", () => {
    globalThis.gc?.()
    globalThis.gc?.()
    process.send?.(process.memoryUsage.rss())
  })
  process.send?.(entrance)
  await once(process, "disconnect")
  await close()
  process.exit(0)
}
