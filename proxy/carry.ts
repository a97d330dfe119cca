import type { Readable, Writable } from "node:stream"

/** Less is not worth a call for each. */
const MIN_FREED_BYTES = 4096

/**
 * Writes what is read, as fast as it is taken, and ends with it; what comes when the other end is closed is dropped. Of a stream whose
 * chunks nobody else holds (`isOwned`) the memory is given back as soon as it is written: V8 would collect the whole heap for every
 * 25 MiB or so of it. Who calls this looks at errors, and at how either end closes.
 */
export const carry = (from: Readable, to: Writable, isOwned: boolean): void => {
  from
    .on("data", (chunk: Buffer) => {
      if (to.destroyed || to.writableEnded) return
      const isTaken = to.write(chunk, (error) => {
        if (isOwned && !error) free(chunk)
      })
      if (!isTaken) from.pause()
    })
    .once("end", () => to.end())
  to.on("drain", () => from.resume())
}

/** Parts of a larger buffer are left alone: the rest may be somebody's. */
const free = ({ buffer, byteLength }: Buffer): void => {
  if (byteLength < MIN_FREED_BYTES || byteLength !== buffer.byteLength || !(buffer instanceof ArrayBuffer)) return
  buffer.transfer(0)
}
