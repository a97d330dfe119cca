/** The application of uploads and WebSockets, in a process of its own. Run by itself it is that process. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { readFile } from "node:fs/promises"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { createServer as createTlsServer } from "node:https"
import type { AddressInfo, Server, Socket } from "node:net"
import { fileURLToPath } from "node:url"
import { WebSocketServer, type WebSocket } from "ws"
import type { TlsFiles } from "./contestant.ts"

export interface Echo extends AsyncDisposable {
  readonly ports: { readonly plain: number; readonly direct: number }
}

export const startEcho = async (core: number, tls: TlsFiles): Promise<Echo> => {
  const child = spawn(
    "taskset",
    ["-c", String(core), process.execPath, fileURLToPath(import.meta.url), "serve", JSON.stringify(tls)],
    { stdio: ["ignore", "inherit", "inherit", "ipc"] },
  )
  const exit = once(child, "exit")
  const [ports] = (await once(child, "message")) as [Echo["ports"]]
  return {
    ports,
    async [Symbol.asyncDispose]() {
      child.disconnect()
      await exit
    },
  }
}

const serve = async ({ certificateFile, keyFile }: TlsFiles): Promise<Echo["ports"]> => {
  const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false, clientTracking: false })
  const sink = (request: IncomingMessage, response: ServerResponse) => {
    let bytes = 0
    request.on("data", (chunk: Buffer) => (bytes += chunk.length)).on("end", () => response.end(String(bytes)))
  }
  const onUpgrade = (request: IncomingMessage, socket: Socket, head: Buffer) =>
    sockets.handleUpgrade(request, socket, head, (made: WebSocket) => {
      made.on("message", (message) => made.send(message, { binary: false })).on("error", () => {})
    })
  const listen = async (server: Server) => {
    server.on("upgrade", onUpgrade).listen(0, "127.0.0.1")
    await once(server, "listening")
    return (server.address() as AddressInfo).port
  }
  const [cert, key] = await Promise.all([readFile(certificateFile, "utf8"), readFile(keyFile, "utf8")])
  return { plain: await listen(createServer(sink)), direct: await listen(createTlsServer({ cert, key }, sink)) }
}

if (process.argv[2] === "serve") {
  process.send?.(await serve(JSON.parse(process.argv[3] ?? "") as TlsFiles))
  await once(process, "disconnect")
  process.exit(0)
}
