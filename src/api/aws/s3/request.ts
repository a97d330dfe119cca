import type { ArtifactStore } from "../../../store/artifact-store.ts"
import { decodePiece, queryValue, type Target } from "../target.ts"
import type { Payload } from "./payload.ts"

/** One verified request to the store. */
export interface S3Request {
  readonly method: string
  readonly target: Target
  readonly headers: Headers
  /** Empty for the service itself. */
  readonly bucket: string
  /** Empty for the bucket itself. */
  readonly key: string
  readonly account: string
  readonly region: string
  readonly store: ArtifactStore
  /** The upload, still to be read. */
  readonly payload: Payload
  /** Reads a small body whole. */
  readonly readAll: () => Promise<string>
  readonly signal: AbortSignal
}

/** Makes the answer of one operation, or `undefined` when the request isn't one of its. */
export type S3Route = (request: S3Request) => Promise<Response> | undefined

/** Splits a path-style path into bucket and key. A key is any text and is never normalised. */
export const parsePlace = (target: Target): { bucket: string; key: string } => {
  const slash = target.path.indexOf("/", 1)
  return slash === -1
    ? { bucket: decodePiece(target.path.slice(1)), key: "" }
    : { bucket: decodePiece(target.path.slice(1, slash)), key: decodePiece(target.path.slice(slash + 1)) }
}

/** The first value of one of the request's query members. */
export const query = (request: S3Request, name: string): string | undefined => queryValue(request.target, name)

/** Whether the query has a member, with a value or without. */
export const asks = (request: S3Request, name: string): boolean => query(request, name) !== undefined

/** Where a request's object lives, as the store wants it. */
export const placeOf = ({ account, bucket, key }: S3Request): [account: string, bucket: string, key: string] => [
  account,
  bucket,
  key,
]
