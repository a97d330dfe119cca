/** The agent: everything of a guest that is not on the way to the application's first answer. It does nothing unless asked. */
import { timingSafeEqual } from "node:crypto"
import { writeSync, openSync, readFileSync } from "node:fs"
import { writeFile } from "node:fs/promises"
import { createServer, type Http2ServerRequest, type Http2ServerResponse } from "node:http2"
import { GUEST } from "../../src/net/slot.ts"
import type { AgentEvent, ContextSpec, CopySpec, DirectorySpec, ProcessSpec } from "../../src/agent/protocol.ts"
import { AGENT_PROTOCOL } from "../../src/agent/version.ts"
import { dropContext, unpackContext } from "./context.ts"
import { copyIntoImage } from "./copy.ts"
import { IMAGE_ROOT, makeDirectory } from "./image-root.ts"
import { untilListening } from "./listening.ts"
import { createProcessTable } from "./process-table.ts"
import { run } from "./run.ts"
import { findUser } from "./user.ts"

const MAX_BODY_BYTES = 4 * 1024 * 1024
const port = openSync("/dev/virtio-ports/torpor.agent", "w")
const tell = (event: AgentEvent) => void writeSync(port, `${JSON.stringify(event)}\n`)
const processes = createProcessTable(tell)

/** The thaw helper writes another secret at every restore. */
const isHost = (request: Http2ServerRequest): boolean => {
  const expected = Buffer.from(`Bearer ${readFileSync("/run/torpor/secret", "utf8")}`)
  const given = Buffer.from(request.headers.authorization ?? "")
  return expected.length > 16 && given.length === expected.length && timingSafeEqual(given, expected)
}

const bodyOf = async <Body>(request: Http2ServerRequest): Promise<Body> => {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request) {
    bytes += (chunk as Buffer).length
    if (bytes > MAX_BODY_BYTES) throw new Error("The request is too large")
    chunks.push(chunk as Buffer)
  }
  return JSON.parse(Buffer.concat(chunks).toString("utf8")) as Body
}

type Handler = (request: Http2ServerRequest, response: Http2ServerResponse, url: URL) => Promise<unknown>

const sendOutput: Handler = async (_, response, url) => {
  response.writeHead(200, { "content-type": "application/x-ndjson" })
  for await (const frame of processes.output(nameOf(url)).follow()) {
    if (response.stream.destroyed) return
    if (!response.write(`${JSON.stringify(frame)}\n`))
      await new Promise<void>((resolve) => response.once("drain", resolve).once("close", resolve))
  }
  response.end()
}

const nameOf = (url: URL) => url.pathname.split("/")[2] ?? ""

const routes: Record<string, Handler> = {
  "PUT /processes/*": async (request, _, url) => processes.start(nameOf(url), await bodyOf<ProcessSpec>(request)),
  "DELETE /processes/*": (_, __, url) => processes.end(nameOf(url)),
  "GET /processes/*/output": sendOutput,
  "POST /context": async (request) => unpackContext(await bodyOf<ContextSpec>(request)),
  "POST /copy": async (request) => copyIntoImage(await bodyOf<CopySpec>(request)),
  "POST /directory": async (request) => {
    const { path, owner } = await bodyOf<DirectorySpec>(request)
    const { uid, gid } = await findUser(owner ?? "0:0")
    await makeDirectory(path, uid, gid)
  },
  "POST /disk/freeze": () => run("fsfreeze", ["--freeze", IMAGE_ROOT]),
  "POST /disk/thaw": () => run("fsfreeze", ["--unfreeze", IMAGE_ROOT]),
  "POST /settle": async () => {
    await dropContext()
    await run("sync", [])
    await writeFile("/proc/sys/vm/drop_caches", "3")
  },
  "GET /listening": async (request, _, url) => {
    const gone = new AbortController()
    request.once("close", () => gone.abort())
    await untilListening(Number(url.searchParams.get("port")), gone.signal)
  },
}

const server = createServer((request, response) => {
  const url = new URL(request.url, "http://agent")
  const shape = url.pathname.replace(/^\/processes\/[^/]+/, "/processes/*")
  const handler = routes[`${request.method} ${shape}`]
  const answer = (status: number, body: unknown) => {
    if (response.headersSent || response.stream.destroyed) return
    response.writeHead(status, { "content-type": "application/json" })
    response.end(JSON.stringify(body))
  }
  if (!isHost(request)) answer(401, { message: "unauthorized" })
  else if (handler === undefined) answer(404, { message: "There is no such route" })
  else
    handler(request, response, url).then(
      () => answer(200, {}),
      (error: unknown) => answer(400, { message: error instanceof Error ? error.message : String(error) }),
    )
})

server.listen(GUEST.agentPort, GUEST.address, () => tell({ event: "hello", protocol: AGENT_PROTOCOL }))
