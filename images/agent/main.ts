/** The agent: everything of a guest that is not on the way to the application's first answer. It does nothing unless asked. */
import { timingSafeEqual } from "node:crypto"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { writeFile } from "node:fs/promises"
import type { Http2ServerRequest } from "node:http2"
import { GUEST } from "../../src/net/slot.ts"
import type {
  ContextSpec,
  CopySpec,
  DirectorySpec,
  DownloadSpec,
  DriveSpec,
  LayersSpec,
  ProcessSpec,
  UnpackSpec,
} from "../../src/agent/protocol.ts"
import { AGENT_PROTOCOL } from "../../src/agent/version.ts"
import { unpackContext } from "./context.ts"
import { copyIntoImage } from "./copy.ts"
import { download } from "./download.ts"
import { mountDrive, pathOnDrive, unmountDrive } from "./drives.ts"
import { createFileRoutes } from "./file-routes.ts"
import { unpackCode } from "./function-code.ts"
import { createFunctionRoutes } from "./functions/routes.ts"
import { IMAGE_ROOT, makeDirectory } from "./image-root.ts"
import { applyLayer, refuseDevices } from "./layer.ts"
import { bodyOf } from "./json-body.ts"
import { untilListening } from "./listening.ts"
import { openPort } from "./port.ts"
import { createProcessTable } from "./process-table.ts"
import { createRouteServer, type Handler } from "./route-server.ts"
import { run } from "./run.ts"
import { findUser } from "./user.ts"

/** Where every runtime of AWS finds it, too. */
const RUNTIME_API_PORT = 9001
const tell = openPort("/dev/virtio-ports/torpor.agent")
const processes = createProcessTable(tell)

/** The thaw helper writes another secret at every restore. */
const isHost = (request: Http2ServerRequest): boolean => {
  const expected = Buffer.from(`Bearer ${readFileSync("/run/torpor/secret", "utf8")}`)
  const given = Buffer.from(request.headers.authorization ?? "")
  return expected.length > 16 && given.length === expected.length && timingSafeEqual(given, expected)
}

const sendOutput: Handler = async (_, response, url) => {
  // Before the answer's head: of a process that isn't there nothing else can be said than that.
  const output = processes.output(nameOf(url))
  response.writeHead(200, { "content-type": "application/x-ndjson" })
  const closed = new Promise<void>((resolve) => response.stream.once("close", resolve))
  for await (const frame of output.follow()) {
    if (response.stream.destroyed) return
    if (!response.write(`${JSON.stringify(frame)}\n`)) await Promise.race([once(response, "drain"), closed])
  }
  response.end()
}

const nameOf = (url: URL) => url.pathname.split("/")[2] ?? ""

const routes: Record<string, Handler> = {
  "PUT /processes/*": async (request, _, url) => processes.start(nameOf(url), await bodyOf<ProcessSpec>(request)),
  "DELETE /processes/*": (_, __, url) => processes.end(nameOf(url)),
  "GET /processes/*/output": sendOutput,
  "POST /flush": (_, __, url) => processes.flush(url.searchParams.get("mark") ?? ""),
  "PUT /drives": async (request) => {
    for (const drive of await bodyOf<readonly DriveSpec[]>(request)) await mountDrive(drive)
  },
  "DELETE /drives": (_, __, url) => unmountDrive(Number(url.searchParams.get("drive"))),
  "POST /context": async (request) => unpackContext(await bodyOf<ContextSpec>(request)),
  "POST /unpack": async (request) => unpackCode(await bodyOf<UnpackSpec>(request)),
  "POST /download": async (request) => download(await bodyOf<DownloadSpec>(request)),
  "POST /layers": async (request) => {
    const { from, count } = await bodyOf<LayersSpec>(request)
    for (let layer = 0; layer < count; layer++)
      await applyLayer(`${pathOnDrive(from)}/${layer}`, layer === 0).catch((error: Error) => {
        throw new Error(`layer ${layer + 1} of ${count}: ${error.message}`)
      })
    await refuseDevices()
  },
  "POST /copy": async (request) => {
    const spec = await bodyOf<CopySpec>(request)
    await copyIntoImage(spec, pathOnDrive(spec.from))
  },
  "POST /directory": async (request) => {
    const { path, owner } = await bodyOf<DirectorySpec>(request)
    const { uid, gid } = await findUser(owner ?? "0:0")
    await makeDirectory(path, uid, gid)
  },
  // `nodev`: a device node in an image is a file, nothing more.
  "POST /disk/mount": () =>
    run("mount", ["-t", "ext4", "-o", "nodev,noatime,noinit_itable", "/dev/torpor/root", IMAGE_ROOT]),
  "POST /disk/freeze": () => run("fsfreeze", ["--freeze", IMAGE_ROOT]),
  "POST /disk/thaw": () => run("fsfreeze", ["--unfreeze", IMAGE_ROOT]),
  "POST /settle": async () => {
    await run("sync", [])
    await writeFile("/proc/sys/vm/drop_caches", "3")
  },
  "GET /listening": async (request, _, url) => {
    const gone = new AbortController()
    request.once("close", () => gone.abort())
    await untilListening(Number(url.searchParams.get("port")), gone.signal)
  },
  ...createFileRoutes(),
  ...createFunctionRoutes(processes, { address: "127.0.0.1", port: RUNTIME_API_PORT }),
}

const server = createRouteServer(routes, isHost)
server.listen(GUEST.agentPort, GUEST.address, () => tell({ event: "hello", protocol: AGENT_PROTOCOL }))
