/** The agent: everything of a guest that is not on the way to the application's first answer. It does nothing unless asked. */
import { timingSafeEqual } from "node:crypto"
import { once } from "node:events"
import { openSync, readSync } from "node:fs"
import { writeFile } from "node:fs/promises"
import type { Http2ServerRequest } from "node:http2"
import { GUEST } from "../../src/net/slot.ts"
import { AGENT_PROTOCOL } from "../../src/agent/version.ts"
import { createCallServer, type CallHandlers } from "./call-server.ts"
import { unpackContext } from "./context.ts"
import { copyIntoImage } from "./copy.ts"
import { download } from "./download.ts"
import { mountDrive, pathOnDrive, unmountDrive } from "./drives.ts"
import { createFileRoutes } from "./file-routes.ts"
import { unpackCode } from "./function-code.ts"
import { createFunctionCalls } from "./functions/function-calls.ts"
import { IMAGE_ROOT, makeDirectory } from "./image-root.ts"
import { applyLayer, refuseDevices } from "./layer.ts"
import { untilListening } from "./listening.ts"
import { openPort } from "./port.ts"
import { createProcessTable } from "./process-table.ts"
import { prepareRehearsal, rehearse } from "./rehearsal.ts"
import { createRouteServer, type Handler } from "./route-server.ts"
import { run } from "./run.ts"
import { findUser } from "./user.ts"

/** Where every runtime of AWS finds it, too. */
const RUNTIME_API_PORT = 9001
const tell = openPort("/dev/virtio-ports/torpor.agent")
const processes = createProcessTable(tell)

/** The thaw helper writes another secret in its place at every restore. */
const secret = openSync("/run/torpor/secret", "r")
const written = Buffer.alloc(64)
const isSecret = (given: Buffer): boolean => {
  const expected = Buffer.from(written.toString("latin1", 0, readSync(secret, written, 0, written.length, 0)), "hex")
  return expected.length > 0 && given.length === expected.length && timingSafeEqual(given, expected)
}

const isHost = ({ headers }: Http2ServerRequest): boolean => {
  const [, given = ""] = /^Bearer ([0-9a-f]+)$/.exec(headers.authorization ?? "") ?? []
  return isSecret(Buffer.from(given, "hex"))
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

const functions = createFunctionCalls(processes, { address: "127.0.0.1", port: RUNTIME_API_PORT })

const handlers: CallHandlers = {
  startProcess: ({ name, spec }) => processes.start(name, spec),
  endProcess: ({ name }) => processes.end(name),
  flushOutput: ({ mark }) => processes.flush(mark),
  async mountDrives(drives) {
    for (const spec of drives) {
      mountDrive(spec)
      functions.mounted(spec.drive)
    }
  },
  async unmountDrive({ drive }) {
    functions.unmounting(drive)
    unmountDrive(drive)
  },
  unpackContext,
  unpackCode,
  download,
  async applyLayers({ from, count }) {
    for (let layer = 0; layer < count; layer++)
      await applyLayer(`${pathOnDrive(from)}/${layer}`, layer === 0).catch((error: Error) => {
        throw new Error(`layer ${layer + 1} of ${count}: ${error.message}`)
      })
    await refuseDevices()
  },
  copy: (spec) => copyIntoImage(spec, pathOnDrive(spec.from)),
  async makeDirectory({ path, owner }) {
    const { uid, gid } = await findUser(owner ?? "0:0")
    await makeDirectory(path, uid, gid)
  },
  // `nodev`: a device node in an image is a file, nothing more.
  mountDisk: () => run("mount", ["-t", "ext4", "-o", "nodev,noatime,noinit_itable", "/dev/torpor/root", IMAGE_ROOT]),
  freezeDisk: () => run("fsfreeze", ["--freeze", IMAGE_ROOT]),
  thawDisk: () => run("fsfreeze", ["--unfreeze", IMAGE_ROOT]),
  rehearse,
  async settle() {
    await prepareRehearsal()
    await run("sync", [])
    await writeFile("/proc/sys/vm/drop_caches", "3")
  },
  untilListening: ({ port }, call) => untilListening(port, call.signal()),
  ...functions.handlers,
}

const streams = createRouteServer({ "GET /processes/*/output": sendOutput, ...createFileRoutes() }, isHost)
const server = createCallServer({
  handlers,
  isSecret,
  serveEvents: functions.serveEvents,
  takeOther: (connection) => void streams.emit("connection", connection),
})
server.listen(GUEST.agentPort, GUEST.address, () => tell({ event: "hello", protocol: AGENT_PROTOCOL }))
