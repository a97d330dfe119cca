import { createHash } from "node:crypto"
import { ServiceError } from "../../../errors.ts"
import { checksumAlgorithms, type ChecksumAlgorithm } from "../../../store/checksum.ts"
import type { Expected } from "../../../store/stored-object.ts"
import type { Identity } from "../sigv4.ts"
import { SignatureRefusal } from "../signature-refusal.ts"
import { decodeAwsChunked } from "./aws-chunked.ts"

/** An upload's body as it is meant, and what it must turn out to be. */
export interface Payload {
  readonly body: AsyncIterable<Uint8Array>
  /** The checksum that was announced, in a header or for the trailer. */
  readonly algorithm: ChecksumAlgorithm | undefined
  /** To be asked once the body is read. */
  readonly expected: () => Expected
}

const headerOf = (algorithm: ChecksumAlgorithm) => `x-amz-checksum-${algorithm.toLowerCase()}`

/** The hash that the request's signature was made with, before anything of the body is read. */
export const claimedPayloadHash = (headers: Headers, presigned: boolean): string => {
  const claimed = headers.get("x-amz-content-sha256") ?? (presigned ? "UNSIGNED-PAYLOAD" : null)
  if (claimed === null)
    throw new ServiceError("InvalidRequest", 400, "Missing required header for this request: x-amz-content-sha256")
  if (
    !/^[0-9a-f]{64}$|^UNSIGNED-PAYLOAD$|^STREAMING-(AWS4-HMAC-SHA256-PAYLOAD(-TRAILER)?|UNSIGNED-PAYLOAD-TRAILER)$/.test(
      claimed,
    )
  ) {
    throw new ServiceError(
      "InvalidArgument",
      400,
      "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-…, or a valid sha256 value.",
    )
  }
  return claimed
}

async function* hashed(source: AsyncIterable<Uint8Array>, sha256: string): AsyncGenerator<Uint8Array> {
  const hash = createHash("sha256")
  for await (const piece of source) {
    hash.update(piece)
    yield piece
  }
  if (hash.digest("hex") !== sha256) {
    throw new SignatureRefusal(
      "payload",
      "The provided 'x-amz-content-sha256' header does not match what was computed.",
    )
  }
}

const parseMd5 = (headers: Headers) => {
  const text = headers.get("content-md5")
  if (text === null) return undefined
  const md5 = Buffer.from(text, "base64")
  if (md5.length !== 16) throw new ServiceError("InvalidDigest", 400, "The Content-MD5 you specified is not valid.")
  return md5
}

const findAlgorithm = (headers: Headers): ChecksumAlgorithm | undefined => {
  const trailer = headers.get("x-amz-trailer")?.trim().toLowerCase()
  const named = headers.get("x-amz-sdk-checksum-algorithm")?.toUpperCase()
  const found = checksumAlgorithms.filter(
    (algorithm) => headers.has(headerOf(algorithm)) || trailer === headerOf(algorithm),
  )
  if (found.length > 1)
    throw new ServiceError(
      "InvalidRequest",
      400,
      "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
    )
  return found[0] ?? checksumAlgorithms.find((algorithm) => algorithm === named)
}

const parseLength = (text: string | null) => {
  if (text === null) return undefined
  if (!/^\d{1,15}$/.test(text))
    throw new ServiceError("InvalidArgument", 400, "x-amz-decoded-content-length must be a number of bytes.")
  return Number(text)
}

/** Takes the wrapping off an upload's body: chunks, their signatures and trailers, or a plain body's hash. */
export const openPayload = (
  source: AsyncIterable<Uint8Array>,
  headers: Headers,
  claimed: string,
  identity: Identity,
): Payload => {
  const algorithm = findAlgorithm(headers)
  const md5 = parseMd5(headers)
  let checksum = algorithm && (headers.get(headerOf(algorithm)) ?? undefined)
  const expected = () => ({ md5, checksum })
  if (claimed === "UNSIGNED-PAYLOAD") return { body: source, algorithm, expected }
  if (!claimed.startsWith("STREAMING-")) return { body: hashed(source, claimed), algorithm, expected }
  const hasTrailer = claimed.endsWith("-TRAILER")
  const body = decodeAwsChunked(source, {
    signer: claimed.startsWith("STREAMING-AWS4") ? identity : undefined,
    hasTrailer,
    decodedBytes: parseLength(headers.get("x-amz-decoded-content-length")),
    onTrailer: (name, value) => {
      if (algorithm && name === headerOf(algorithm)) checksum = value
    },
  })
  const announced = headers.get("x-amz-trailer")
  return {
    body,
    algorithm,
    expected: () => {
      if (hasTrailer && announced !== null && algorithm && checksum === undefined) {
        throw new ServiceError(
          "MalformedTrailerError",
          400,
          "The request contained trailing data that was not well-formed or did not conform to our published schema.",
        )
      }
      return expected()
    },
  }
}
