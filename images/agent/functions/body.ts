import type { IncomingMessage } from "node:http"

/** A response, or an error, of an invocation that isn't streamed: 6 MiB and what its wrapping may take. */
export const MAX_PAYLOAD_BYTES = 6_291_556

/**
 * The whole of a body; `undefined` when it is larger than `maxBytes`: then it has still been heard to its end, since a client that is
 * answered while it sends hears a closed connection and not the answer. Rejects when it is cut off.
 */
export const readBody = async (request: IncomingMessage, maxBytes: number): Promise<Buffer | undefined> => {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request) {
    bytes += (chunk as Buffer).length
    if (bytes <= maxBytes) chunks.push(chunk as Buffer)
    else chunks.length = 0
  }
  return bytes > maxBytes ? undefined : Buffer.concat(chunks)
}
