import type { Readable } from "node:stream"

const MAX_BYTES = 16 * 1024 * 1024
const MAX_MS = 10_000

/**
 * Reads and drops what is left of a body that nobody wants. A connection that is closed on unread bytes is reset, and its sender may
 * lose the answer that says why; one that is read to the end can be used again. Who sends on and on is cut.
 */
export const discardRest = (body: Readable): void => {
  if (body.readableEnded || body.destroyed) return
  let left = MAX_BYTES
  const cut = setTimeout(() => body.destroy(), MAX_MS)
  const stop = () => clearTimeout(cut)
  body
    .on("data", (chunk: Buffer) => {
      left -= chunk.length
      if (left < 0) body.destroy()
    })
    .once("end", stop)
    .once("close", stop)
    .on("error", () => {})
    .resume()
}
