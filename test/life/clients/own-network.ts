/**
 * A network namespace for a browser: Chromium gives up what it has under way whenever an interface comes or goes on its host, and MicroVMs
 * come and go all the time. One port of its loopback leads out, to the same port of ours.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises"
import { connect, createServer, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

export interface OwnNetwork extends AsyncDisposable {
  /** A program that starts another one inside. */
  wrap(program: string): Promise<string>
}

/** Passes every connection on, as it comes. */
const relay = (socket: Socket, to: Socket) => {
  for (const end of [socket, to]) end.on("error", () => {})
  socket.pipe(to).pipe(socket)
  socket.once("close", () => to.destroy())
  to.once("close", () => socket.destroy())
}

export const openOwnNetwork = async (port: number): Promise<OwnNetwork> => {
  const directory = await mkdtemp(join(tmpdir(), "torpor-browser-"))
  const way = join(directory, "way")
  const outside = createServer((socket) => relay(socket, connect(port, "127.0.0.1"))).listen(way)
  await once(outside, "listening")
  const script = 'ip link set lo up && exec "$@"'
  const inside = [process.execPath, fileURLToPath(import.meta.url), way, String(port)]
  const child = spawn("unshare", ["--net", "sh", "-c", script, "sh", ...inside], {
    stdio: ["ignore", "pipe", "inherit"],
  })
  await once(child.stdout, "data")
  return {
    async wrap(program) {
      const file = join(directory, "inside")
      await writeFile(file, `#!/bin/sh\nexec nsenter --net=/proc/${child.pid}/ns/net ${program} "$@"\n`)
      await chmod(file, 0o700)
      return file
    },
    async [Symbol.asyncDispose]() {
      child.kill()
      await once(child, "exit")
      outside.close()
      await rm(directory, { recursive: true })
    },
  }
}

const [, started, way = "", port] = process.argv
if (started === fileURLToPath(import.meta.url)) {
  const server = createServer((socket) => relay(socket, connect(way))).listen(Number(port), "127.0.0.1")
  server.once("listening", () => process.stdout.write("listening\n"))
}
