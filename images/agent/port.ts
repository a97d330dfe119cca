import { openSync, write } from "node:fs"
import type { AgentEvent } from "../../src/agent/protocol.ts"

/** Tells the host events, in order; resolves when they are on their way to it. */
export type Tell = (...events: AgentEvent[]) => Promise<void>

/**
 * The line to the host on which only the guest speaks. A write to it waits in the kernel while no host listens, or listens slowly: it
 * does so on a thread of its own, one at a time, and nothing but the next one waits for it.
 */
export const openPort = (path: string): Tell => {
  const port = openSync(path, "w")
  let told = Promise.resolve()
  return (...events) => {
    const lines = Buffer.from(events.map((event) => `${JSON.stringify(event)}\n`).join(""))
    return (told = told.then(() => writeAll(port, lines)))
  }
}

const writeAll = async (port: number, bytes: Buffer): Promise<void> => {
  for (let at = 0; at < bytes.length;)
    at += await new Promise<number>((resolve) =>
      write(port, bytes, at, bytes.length - at, null, (error, written) => {
        // Only a guest that is at its end has no port any more.
        if (error !== null) console.error(error.message)
        resolve(error === null ? written : bytes.length)
      }),
    )
}
