import type { Readable } from "node:stream"
import { EdgeError } from "../errors.ts"
import type { Holding } from "../limits/held-bytes.ts"
import { throttledByEdge, tooLarge } from "./refusals.ts"

/** AWS's for one invocation. */
export const MAX_BODY_BYTES = 6 * 1024 * 1024
/** The largest event and the largest response, AWS's: a little more than what callers may send. */
export const MAX_PAYLOAD_BYTES = 6_291_556

export interface BodyLimits {
  /** How long the next byte may take. */
  readonly idleMs: number
  /** And all of them together. */
  readonly maxMs: number
}

/** Counts bytes that are held for a request; the refusal, where too many are. */
export const refusalToHold = (holding: Holding, bytes: number): Error | undefined => {
  const full = holding.take(bytes)
  if (full === "own") return throttledByEdge("TOO_MANY_REQUESTS")
  return full === "all" ? new EdgeError("URLS_OVERLOADED") : undefined
}

/** Takes a request's body whole. Throws a refusal, with the rest left unread, for one that is too large or comes too slowly. */
export const takeBody = (body: Readable, holding: Holding, { idleMs, maxMs }: BodyLimits): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let bytes = 0
    const fail = (error: Error) => {
      stop()
      body.pause()
      reject(error)
    }
    const late = () => fail(new EdgeError("BODY_TIMEOUT"))
    const [idle, whole] = [setTimeout(late, idleMs), setTimeout(late, maxMs)]
    const onData = (chunk: Buffer) => {
      bytes += chunk.length
      idle.refresh()
      chunks.push(chunk)
      const refusal = bytes > MAX_BODY_BYTES ? tooLarge(MAX_BODY_BYTES) : refusalToHold(holding, chunk.length)
      if (refusal !== undefined) fail(refusal)
    }
    const onEnd = () => {
      stop()
      resolve(Buffer.concat(chunks))
    }
    const onClose = () => fail(new EdgeError("BAD_REQUEST"))
    const stop = () => {
      clearTimeout(idle)
      clearTimeout(whole)
      body.off("data", onData).off("end", onEnd).off("close", onClose)
    }
    body
      .on("error", () => {})
      .on("data", onData)
      .once("end", onEnd)
      .once("close", onClose)
  })
