import { once } from "node:events"
import { connect, type Socket } from "node:net"

/** Connects to a socket of this host; its errors are its close. The caller destroys it. */
export const openSocket = async (path: string, signal: AbortSignal): Promise<Socket> => {
  const socket = connect(path)
  socket.on("error", () => {})
  try {
    await once(socket, "connect", { signal })
    return socket
  } catch (error) {
    socket.destroy()
    throw error
  }
}
