/** A VM's serial port as the host sees it: a Unix socket, with a guest of the test's own behind it. */
import { once } from "node:events"
import { mkdtemp, rm } from "node:fs/promises"
import { createServer, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"

export interface GuestPort extends AsyncDisposable {
  readonly path: string
  /** Resolves with the host's connection. */
  readonly host: Promise<Socket>
  /** Every line that the host has said. */
  readonly lines: AsyncIterator<string>
}

/** Opens one. Disposing it ends every connection. */
export const openGuestPort = async (): Promise<GuestPort> => {
  const directory = await mkdtemp(join(tmpdir(), "torpor-port-"))
  const path = join(directory, "port")
  const connected = Promise.withResolvers<Socket>()
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on("error", () => {})
    connected.resolve(socket)
  })
  server.listen(path)
  await once(server, "listening")
  return {
    path,
    host: connected.promise,
    lines: linesOf(connected.promise),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await rm(directory, { recursive: true, force: true })
    },
  }
}

async function* linesOf(connected: Promise<Socket>): AsyncGenerator<string> {
  let pending = ""
  for await (const text of (await connected).setEncoding("latin1")) {
    const lines = (pending + (text as string)).split("\n")
    pending = lines.pop() ?? ""
    yield* lines
  }
}

/** Writes as long as somebody takes it; resolves when the host has ended the connection. */
export const writeEndlessly = async (socket: Socket, piece: string | Buffer): Promise<void> => {
  // Not `once` of events: the host's going away may be an error here.
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()))
  const go = () => {
    while (!socket.destroyed && socket.write(piece));
  }
  socket.on("drain", go)
  go()
  await closed
}
