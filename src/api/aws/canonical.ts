import type { Authorization } from "./authorization.ts"
import { decodePiece, type Target } from "./target.ts"

/** A request as SigV4 sees it. */
export interface SignableRequest {
  readonly method: string
  readonly target: Target
  readonly headers: Headers
}

/** Percent-encodes as SigV4 wants it: everything but letters, digits and `-._~`. */
export const awsEncode = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)

/** S3 encodes each segment once and keeps dots and empty segments: a key is any text. */
const s3Path = (path: string) =>
  path
    .split("/")
    .map((segment) => awsEncode(decodePiece(segment)))
    .join("/")

/** Everybody else normalises the path and encodes what was already encoded once more. */
const servicePath = (path: string) => {
  const kept: string[] = []
  for (const segment of path.split("/")) {
    if (segment === "..") kept.pop()
    else if (segment !== "" && segment !== ".") kept.push(segment)
  }
  const trailing = kept.length > 0 && path.endsWith("/") ? "/" : ""
  return `/${kept.map(awsEncode).join("/")}${trailing}`
}

const canonicalQuery = (target: Target, presigned: boolean) =>
  target.query
    .filter(([name]) => !presigned || name !== "X-Amz-Signature")
    .map(([name, value]) => [awsEncode(name), awsEncode(value)] as const)
    .toSorted(([nameA, valueA], [nameB, valueB]) =>
      nameA === nameB ? (valueA < valueB ? -1 : 1) : nameA < nameB ? -1 : 1,
    )
    .map(([name, value]) => `${name}=${value}`)
    .join("&")

/** The canonical request: the text whose hash was signed. */
export const canonicalRequest = (
  request: SignableRequest,
  authorization: Authorization,
  payloadHash: string,
): string => {
  const { path } = request.target
  const headers = authorization.signedHeaders.map(
    (name) => `${name}:${(request.headers.get(name) ?? "").trim().replace(/\s+/g, " ")}\n`,
  )
  return [
    request.method,
    authorization.service === "s3" ? s3Path(path) : servicePath(path),
    canonicalQuery(request.target, authorization.expiresSeconds !== undefined),
    headers.join(""),
    authorization.signedHeaders.join(";"),
    payloadHash,
  ].join("\n")
}
