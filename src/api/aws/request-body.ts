import { Readable } from "node:stream"
import type { Context } from "hono"
import type { HttpBindings } from "@hono/node-server"
import { ServiceError } from "../../errors.ts"
import type { BodyRoom } from "./body-room.ts"

/** What a route of the API is given beside the request: the socket's two sides, absent when a test calls the app directly. */
export type ApiEnv = { Bindings: Partial<HttpBindings> }

/** The request's target as sent; a URL parser would have resolved the dots of an S3 key. */
export const rawTarget = (c: Context<ApiEnv>): string => {
  const url = c.env?.incoming?.url
  if (url !== undefined) return url
  return c.req.raw.url.replace(/^[a-z]+:\/\/[^/?#]*/i, "")
}

/**
 * The request's body as it comes in. A client that waits for `100 Continue` gets it here and not before, so that a refused
 * upload is never sent.
 */
export const bodyStream = (c: Context<ApiEnv>): Readable => {
  const { incoming, outgoing } = c.env ?? {}
  if (!incoming) return c.req.raw.body ? Readable.fromWeb(c.req.raw.body) : Readable.from([])
  if (incoming.headers.expect?.toLowerCase() === "100-continue" && outgoing && "writeContinue" in outgoing)
    outgoing.writeContinue()
  return incoming
}

/** Aborted when the client has gone before it had its whole answer. */
export const goneSignal = (c: Context<ApiEnv>): AbortSignal => {
  const { outgoing } = c.env ?? {}
  if (outgoing === undefined) return c.req.raw.signal
  const gone = new AbortController()
  outgoing.once("close", () => {
    if (!outgoing.writableFinished) gone.abort(new Error("The client has gone"))
  })
  return gone.signal
}

/**
 * Reads a small body whole; refuses one of more than `limitBytes`, that breaks off, that isn't there after `timeoutMs`, or for which `room`
 * has none. It has its place there until the request is answered.
 */
export const readBody = async (
  c: Context<ApiEnv>,
  room: BodyRoom,
  limitBytes: number,
  timeoutMs = 30_000,
): Promise<Buffer> => {
  const tooLarge = () =>
    new ServiceError("RequestTooLargeException", 413, `Request must be smaller than ${limitBytes} bytes`)
  if (Number(c.req.header("content-length") ?? 0) > limitBytes) throw tooLarge()
  const part = room.open()
  // Without a connection, as in tests, nothing says when it is answered.
  c.env?.outgoing?.once("close", part.release)
  const stream = bodyStream(c)
  const timer = setTimeout(() => stream.destroy(new Error("too slow")), timeoutMs)
  try {
    const chunks: Buffer[] = []
    let bytes = 0
    // Node's iterator destroys the stream, and with it the socket, when it is left early: the refusal couldn't be sent.
    for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
      const piece = Buffer.from(chunk as Uint8Array)
      bytes += piece.length
      if (bytes > limitBytes) throw tooLarge()
      part.add(piece.length)
      chunks.push(piece)
    }
    return Buffer.concat(chunks)
  } catch (error) {
    if (error instanceof ServiceError) throw error
    // The client went away or stood still: its doing, not an error inside.
    throw new ServiceError("RequestTimeoutException", 408, "The request's body broke off.")
  } finally {
    clearTimeout(timer)
  }
}
