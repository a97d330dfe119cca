/** An answer's bytes as a client is offered them: whoever leaves them untaken is cut off. */
import { Readable } from "node:stream"

export interface Offering {
  /** How long bytes may wait for the client to take them. */
  readonly idleMs: number
  readonly onStalled: () => void
  /** Told of bytes as they are offered. */
  readonly onBytes: (bytes: number) => void
}

/** What is taken ahead of the client. */
export const AHEAD_BYTES = 64 * 1024

/** A stream of chunks, taken from where they come at the client's pace; it breaks off when they do. */
export const offer = (chunks: AsyncIterable<Buffer> | Iterable<Buffer>, offering: Offering): Readable => {
  const { idleMs, onStalled, onBytes } = offering
  async function* read() {
    for await (const chunk of chunks) {
      onBytes(chunk.length)
      const stalled = setTimeout(onStalled, idleMs)
      try {
        yield chunk
      } finally {
        clearTimeout(stalled)
      }
    }
  }
  return Readable.from(read(), { objectMode: false, highWaterMark: AHEAD_BYTES })
}

/** A whole body in pieces that can be offered one by one. */
export function* piecesOf(body: Buffer): Generator<Buffer> {
  for (let at = 0; at < body.length; at += AHEAD_BYTES) yield body.subarray(at, at + AHEAD_BYTES)
}
