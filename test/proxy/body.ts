/** Bodies too large to hold: what is kept of one is its length and its digest. */
import { createHash } from "node:crypto"
import type { Writable } from "node:stream"
import { setImmediate } from "node:timers/promises"

const CHUNK = 64 * 1024
const noise = Buffer.from(crypto.getRandomValues(new Uint8Array(CHUNK)))

/** Writes `bytes`, every chunk of them another, as fast as they are taken, and ends; resolves with their digest. */
export const writeBody = async (to: Writable, bytes: number, onWritten = (_bytes: number): void => {}) => {
  const hash = createHash("sha256")
  for (let written = 0; written < bytes;) {
    const chunk = Buffer.from(noise.subarray(0, Math.min(CHUNK, bytes - written)))
    chunk.writeDoubleLE(written)
    hash.update(chunk)
    const goesOn = to.write(chunk)
    written += chunk.length
    onWritten(written)
    if (!goesOn) await new Promise((resolve) => to.once("drain", resolve))
  }
  to.end()
  return hash.digest("hex")
}

/** Reads it all; between two chunks it lets everybody else have `turns` of the event loop. */
export const readBody = async (
  from: AsyncIterable<Buffer>,
  { turns = 0, onRead = (_bytes: number): void => {} } = {},
) => {
  const hash = createHash("sha256")
  let bytes = 0
  for await (const chunk of from) {
    hash.update(chunk)
    bytes += chunk.length
    onRead(bytes)
    for (let turn = 0; turn < turns; turn++) await setImmediate()
  }
  return { bytes, digest: hash.digest("hex") }
}
