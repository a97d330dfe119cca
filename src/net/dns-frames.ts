/** DNS over TCP: each message behind two bytes of its length. */

/** A message with its length before it. */
export const toFrame = (message: Buffer): Buffer => {
  const frame = Buffer.allocUnsafe(2 + message.length)
  frame.writeUInt16BE(message.length, 0)
  message.copy(frame, 2)
  return frame
}

/** The messages of a connection. Throws as soon as one announces more than `maxBytes`; an incomplete one at the end is dropped. */
export async function* messagesOf(chunks: AsyncIterable<Buffer>, maxBytes: number): AsyncGenerator<Buffer> {
  let pending: Buffer = Buffer.alloc(0)
  for await (const chunk of chunks) {
    pending = Buffer.concat([pending, chunk])
    while (pending.length >= 2) {
      const end = 2 + pending.readUInt16BE(0)
      if (end - 2 > maxBytes) throw new Error(`A DNS message of ${end - 2} bytes`)
      if (pending.length < end) break
      yield pending.subarray(2, end)
      pending = pending.subarray(end)
    }
  }
}
