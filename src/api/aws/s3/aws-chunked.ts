import { createHash, timingSafeEqual } from "node:crypto"
import { ServiceError } from "../../../errors.ts"
import type { Identity } from "../sigv4.ts"
import { SignatureRefusal } from "../signature-refusal.ts"

const emptySha256 = createHash("sha256").digest("hex")
const maxLineBytes = 8 * 1024
const maxTrailers = 16
const incomplete = () => new ServiceError("IncompleteBody", 400, "The request body terminated unexpectedly")
const malformed = () => new ServiceError("InvalidRequest", 400, "The aws-chunked body is malformed.")

/** Reads lines and runs of bytes from a stream of pieces, holding no more than one piece. */
const createReader = (source: AsyncIterable<Uint8Array>) => {
  const pieces = source[Symbol.asyncIterator]()
  let held: Buffer = Buffer.alloc(0)
  const more = async () => {
    const { done, value } = await pieces.next()
    if (done) throw incomplete()
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  }
  return {
    /** A line without its CRLF. */
    line: async (): Promise<string> => {
      for (;;) {
        const end = held.indexOf("\r\n")
        if (end !== -1) {
          const line = held.toString("latin1", 0, end)
          held = held.subarray(end + 2)
          return line
        }
        if (held.length > maxLineBytes) throw malformed()
        held = Buffer.concat([held, await more()])
      }
    },
    /** Up to `limit` bytes, at least one. */
    some: async (limit: number): Promise<Buffer> => {
      while (held.length === 0) held = await more()
      const taken = held.subarray(0, limit)
      held = held.subarray(taken.length)
      return taken
    },
    /** Whether there is nothing more. */
    ended: async (): Promise<boolean> => {
      while (held.length === 0) {
        const { done, value } = await pieces.next()
        if (done) return true
        held = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
      }
      return false
    },
  }
}

export interface ChunkedOptions {
  /** Who must have signed each chunk; `undefined` when chunks aren't signed. */
  readonly signer: Identity | undefined
  readonly hasTrailer: boolean
  /** What the client says the decoded length is. */
  readonly decodedBytes: number | undefined
  /** Told each trailer, once all are verified. */
  readonly onTrailer: (name: string, value: string) => void
}

/** Checks the chain of signatures: each covers its own bytes and the signature before it. */
const createChain = (signer: Identity) => {
  let previous = signer.signature
  const check = (algorithm: string, hashes: string, claimed: string) => {
    const expected = signer.sign(`${algorithm}\n${signer.signedScope}\n${previous}\n${hashes}`)
    if (claimed.length !== expected.length || !timingSafeEqual(Buffer.from(claimed), Buffer.from(expected))) {
      throw new SignatureRefusal("mismatch", "A chunk's signature does not match the signature we calculated.")
    }
    previous = expected
  }
  return {
    chunk: (sha256: string, claimed: string) => check("AWS4-HMAC-SHA256-PAYLOAD", `${emptySha256}\n${sha256}`, claimed),
    trailer: (sha256: string, claimed: string) => check("AWS4-HMAC-SHA256-TRAILER", sha256, claimed),
  }
}

/**
 * Decodes `Content-Encoding: aws-chunked`, verifying chunk signatures when there are any. A bad chunk's bytes may have been passed on
 * before the error: whoever keeps them must throw them away on one. Throws for a body that breaks off or is not of the length said.
 */
export async function* decodeAwsChunked(
  source: AsyncIterable<Uint8Array>,
  options: ChunkedOptions,
): AsyncGenerator<Buffer> {
  const { signer, hasTrailer, decodedBytes, onTrailer } = options
  const reader = createReader(source)
  const chain = signer && createChain(signer)
  let total = 0
  for (;;) {
    const head = /^([0-9a-fA-F]{1,10})(?:;chunk-signature=([0-9a-f]{64}))?$/.exec(await reader.line())
    const [, hex, signature] = head ?? []
    if (hex === undefined) throw malformed()
    if (chain && signature === undefined) throw new SignatureRefusal("mismatch", "A chunk is not signed.")
    const bytes = Number.parseInt(hex, 16)
    const hash = chain && createHash("sha256")
    for (let left = bytes; left > 0;) {
      const piece = await reader.some(left)
      left -= piece.length
      total += piece.length
      if (decodedBytes !== undefined && total > decodedBytes) throw incomplete()
      hash?.update(piece)
      yield piece
    }
    if (chain && hash) chain.chunk(hash.digest("hex"), signature ?? "")
    if (bytes === 0) break
    if ((await reader.line()) !== "") throw malformed()
  }

  const trailers: [name: string, value: string][] = []
  for (;;) {
    // The last CRLF is left out by some clients when no trailer follows.
    if (!hasTrailer && (await reader.ended())) break
    const line = await reader.line()
    if (line === "") break
    const colon = line.indexOf(":")
    if (colon === -1 || !hasTrailer || trailers.length >= maxTrailers) throw malformed()
    trailers.push([line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim()])
  }
  const signed = trailers.filter(([name]) => name !== "x-amz-trailer-signature")
  if (chain && hasTrailer) {
    const text = signed.map(([name, value]) => `${name}:${value}\n`).join("")
    const claimed = trailers.find(([name]) => name === "x-amz-trailer-signature")?.[1] ?? ""
    chain.trailer(createHash("sha256").update(text).digest("hex"), claimed)
  }
  for (const [name, value] of signed) onTrailer(name, value)
  if (!(await reader.ended())) throw malformed()
  if (decodedBytes !== undefined && total !== decodedBytes) throw incomplete()
}
