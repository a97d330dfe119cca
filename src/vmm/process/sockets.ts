import { mkdir, rename, rm } from "node:fs/promises"
import { createServer, type Server } from "node:net"
import { once } from "node:events"
import { join } from "node:path"

/** The control sockets of one VM. */
export const socketNames = ["qmp", "thaw", "agent"] as const
export type SocketName = (typeof socketNames)[number]

/** Where a VM's sockets are: a short path, since the kernel takes 107 bytes at most. */
export const socketPath = (directory: string, name: SocketName) => join(directory, name)

/**
 * Makes the listening sockets before QEMU starts, to be handed to it: whoever connects never has to wait for a file to appear.
 * `servers` are given to the child and closed here right after; the files stay for the next daemon.
 */
export const openListeners = async (directory: string): Promise<{ servers: Server[]; close(): void }> => {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const servers: Server[] = []
  const close = () => servers.forEach((server) => server.close())
  try {
    for (const name of socketNames) {
      const path = socketPath(directory, name)
      const server = createServer({ pauseOnConnect: true })
      servers.push(server)
      await rm(`${path}.new`, { force: true })
      server.listen(`${path}.new`)
      await once(server, "listening")
      // libuv unlinks the name it bound when it closes; by then the socket has another.
      await rename(`${path}.new`, path)
    }
  } catch (error) {
    close()
    throw error
  }
  return { servers, close }
}
