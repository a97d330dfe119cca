import { SignatureRefusal } from "./signature-refusal.ts"
import { queryValue, type Target } from "./target.ts"

/** What a request claims about its signer; nothing of it is verified yet. */
export interface Authorization {
  readonly accessKeyId: string
  /** YYYYMMDD */
  readonly date: string
  readonly region: string
  readonly service: string
  readonly signedHeaders: readonly string[]
  /** Hex. */
  readonly signature: string
  /** YYYYMMDDTHHMMSSZ */
  readonly timestamp: string
  /** Presigned URLs say how long they are good for. */
  readonly expiresSeconds: number | undefined
}

const algorithm = "AWS4-HMAC-SHA256"
const incomplete = (message: string) => new SignatureRefusal("incomplete", message)

const parseCredential = (credential: string) => {
  const match = /^([\w-]{1,128})\/(\d{8})\/([a-z0-9-]{1,64})\/([a-z0-9-]{1,64})\/aws4_request$/.exec(credential)
  if (!match) {
    throw incomplete(
      `Credential must have at least 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '${credential.slice(0, 200)}'`,
    )
  }
  const [, accessKeyId = "", date = "", region = "", service = ""] = match
  return { accessKeyId, date, region, service }
}

const parseTimestamp = (timestamp: string | null | undefined) => {
  if (!timestamp || !/^\d{8}T\d{6}Z$/.test(timestamp)) {
    throw incomplete("The request needs an X-Amz-Date of the form YYYYMMDDTHHMMSSZ.")
  }
  return timestamp
}

const parseSignature = (signature: string) => {
  if (!/^[0-9a-f]{64}$/.test(signature)) throw incomplete("The Signature must be 64 lower-case hexadecimal digits.")
  return signature
}

const parseSignedHeaders = (list: string) =>
  list
    .toLowerCase()
    .split(";")
    .filter((name) => name !== "")

const fromHeader = (header: string, headers: Headers): Authorization => {
  const space = header.indexOf(" ")
  if (header.slice(0, space) !== algorithm) {
    throw incomplete(
      `Unsupported AWS 'algorithm': '${header.slice(0, Math.max(space, 0)).slice(0, 64)}'. Use ${algorithm}.`,
    )
  }
  const parts = new Map<string, string>()
  for (const part of header.slice(space + 1).split(",")) {
    const equals = part.indexOf("=")
    if (equals === -1)
      throw incomplete("A part of the Authorization header is not a key=value pair (missing equal-sign).")
    parts.set(part.slice(0, equals).trim(), part.slice(equals + 1).trim())
  }
  const part = (name: string) => {
    const value = parts.get(name)
    if (!value) throw incomplete(`Authorization header requires '${name}' parameter.`)
    return value
  }
  return {
    ...parseCredential(part("Credential")),
    signature: parseSignature(part("Signature")),
    signedHeaders: parseSignedHeaders(part("SignedHeaders")),
    timestamp: parseTimestamp(headers.get("x-amz-date")),
    expiresSeconds: undefined,
  }
}

const fromQuery = (target: Target): Authorization => {
  const expiresSeconds = Number(queryValue(target, "X-Amz-Expires"))
  if (!Number.isInteger(expiresSeconds) || expiresSeconds < 1 || expiresSeconds > 604_800) {
    throw incomplete("X-Amz-Expires must be between 1 and 604800 seconds.")
  }
  return {
    ...parseCredential(queryValue(target, "X-Amz-Credential") ?? ""),
    signature: parseSignature(queryValue(target, "X-Amz-Signature") ?? ""),
    signedHeaders: parseSignedHeaders(queryValue(target, "X-Amz-SignedHeaders") ?? ""),
    timestamp: parseTimestamp(queryValue(target, "X-Amz-Date")),
    expiresSeconds,
  }
}

/** Reads who claims to have signed a request, from its header or, of a service that takes presigned URLs, its query. */
export const parseAuthorization = (
  target: Target,
  headers: Headers,
  presignable: readonly string[] = ["s3"],
): Authorization => {
  const header = headers.get("authorization")
  if (header !== null) return fromHeader(header, headers)
  if (queryValue(target, "X-Amz-Algorithm") === algorithm) {
    const authorization = fromQuery(target)
    if (presignable.includes(authorization.service)) return authorization
  }
  throw new SignatureRefusal("missing", "Missing Authentication Token")
}

/** The service a request says it is signed for, for routing only; `undefined` when it says nothing readable. */
export const claimedService = (rawTarget: string, headers: Headers): string | undefined => {
  const inHeader = /Credential=([^,\s]+)/.exec(headers.get("authorization") ?? "")?.[1]
  const inQuery = /[?&]X-Amz-Credential=([^&]+)/.exec(rawTarget)?.[1]?.replaceAll(/%2f/gi, "/")
  return (inHeader ?? inQuery)?.split("/")[3]
}
