import type { Errand } from "./client.ts"
import { openWebSocket } from "./connection.ts"

const AT_ONCE = 50

/** Opens many WebSockets that then say nothing, until its process ends; how many there are. */
export const hold = async (errand: Errand): Promise<number[]> => {
  let left = errand.count
  const open = async () => {
    while (left-- > 0) {
      const socket = await openWebSocket(errand)
      socket.once("close", () => process.exit(1))
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, open))
  return [errand.count]
}
