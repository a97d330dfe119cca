/** Who is compared: one application on one core, and on the other the proxies in front of it, one after another. */
import { execFile } from "node:child_process"
import { mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { ensureCertificates } from "../../proxy/certificates.ts"
import { startContestant, type Contestant, type Entrance, type Kind } from "./contestant.ts"
import { startEcho } from "./echo.ts"
import type { Driven } from "./load.ts"
import { BODY, LARGE_MIB, startNginxProxy, startUpstream } from "./nginx.ts"

export const [PROXY_CORE, LOAD_CORE] = [0, 1]

/** As src/cli/torpor starts the daemon. */
const OURS = {
  flags: ["--max-semi-space-size=8"],
  environment: {
    GLIBC_TUNABLES: "glibc.malloc.mmap_threshold=65536:glibc.malloc.top_pad=16384:glibc.malloc.trim_threshold=8388608",
  },
}

/** The same request to everyone, token and all; only the edge looks at it. */
export interface Arena {
  readonly ca: string
  readonly caFile: string
  /** As large as what comes down. */
  readonly largeFile: string
  readonly nginx: Driven
  readonly node: Contestant
  readonly edge: Contestant
  /** The applications themselves, over TLS: nobody between. */
  readonly direct: Readonly<Record<"app" | "echo", Entrance>>
  /** The way to the application of uploads and WebSockets. */
  toEcho<Way extends Entrance>(way: Way): Way
  /** Another one: for its memory. */
  startAlone(kind: Kind): Promise<Contestant>
}

/** Opens one, and checks that every way answers and that the edge refuses a request without a token. */
export const openArena = async (opened: AsyncDisposableStack): Promise<Arena> => {
  const directory = await mkdtemp(join(tmpdir(), "torpor-bench-edge-"))
  opened.defer(() => rm(directory, { recursive: true }))
  const { certificate, key, caFile = "" } = await ensureCertificates(directory, "localhost")
  const tls = { certificateFile: join(directory, "chain.pem"), keyFile: join(directory, "chain.key") }
  await writeFile(tls.certificateFile, certificate)
  await writeFile(tls.keyFile, key, { mode: 0o600 })

  const largeFile = join(directory, "large")
  await writeFile(largeFile, "")
  await truncate(largeFile, LARGE_MIB * 1024 ** 2)

  const upstream = opened.use(await startUpstream(LOAD_CORE, tls))
  const echo = opened.use(await startEcho(LOAD_CORE, tls))
  // Where a proxy would be: a client on the application's own core would be answered without another core's waking up.
  const near = opened.use(await startEcho(PROXY_CORE, tls))
  const ports = { app: upstream.ports["plain"] ?? 0, echo: echo.ports.plain }
  const startAlone = (kind: Kind) => startContestant(kind, PROXY_CORE, tls, ports, kind === "edge" ? OURS : {})
  const nginx = opened.use(await startNginxProxy(PROXY_CORE, tls, ports.app, ports.echo))
  const node = opened.use(await startAlone("node"))
  const edge = opened.use(await startAlone("edge"))

  const { host, headers } = edge
  const arena: Arena = {
    ca: await readFile(caFile, "utf8"),
    caFile,
    largeFile,
    nginx: { port: nginx.ports["port"] ?? 0, pid: nginx.pid, host, headers },
    node: { ...node, host, headers },
    edge,
    direct: {
      app: { port: upstream.ports["direct"] ?? 0, host, headers },
      echo: { port: near.ports.direct, host, headers },
    },
    toEcho: (way) => ({ ...way, headers: { ...way.headers, "X-aws-proxy-port": String(ports.echo) } }),
    startAlone,
  }
  for (const way of [arena.nginx, arena.node, edge, arena.direct.app]) await check(way, caFile, `200 ${BODY}`)
  await check({ ...edge, headers: {} }, caFile, "403 Request missing authentication")
  return arena
}

const check = async ({ host, port, headers }: Entrance, caFile: string, wanted: string) => {
  const lines = Object.entries(headers).flatMap(([name, value]) => ["-H", `${name}: ${value}`])
  const resolve = ["--resolve", `${host}:${port}:127.0.0.1`]
  const options = ["-sS", "--cacert", caFile, ...resolve, ...lines, "-w", "\n%{http_code}", `https://${host}:${port}/`]
  const { stdout } = await promisify(execFile)("curl", options)
  const [, body = "", status = ""] = /^([^]*)\n(\d+)$/.exec(stdout) ?? []
  if (`${status} ${body}` !== wanted) throw new Error(`Port ${port} answered ${status} ${body}instead of ${wanted}`)
}
