import type { Http2ServerRequest } from "node:http2"

const MAX_BODY_BYTES = 4 * 1024 * 1024

/** A request's JSON, which the host has written. */
export const bodyOf = async <Body>(request: Http2ServerRequest): Promise<Body> => {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request) {
    bytes += (chunk as Buffer).length
    if (bytes > MAX_BODY_BYTES) throw new Error("The request is too large")
    chunks.push(chunk as Buffer)
  }
  return JSON.parse(Buffer.concat(chunks).toString("utf8")) as Body
}
