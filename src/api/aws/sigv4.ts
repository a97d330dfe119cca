import { createHash, createHmac, timingSafeEqual } from "node:crypto"
import { LRUCache } from "lru-cache"
import { parseAuthorization, type Authorization } from "./authorization.ts"
import { canonicalRequest, type SignableRequest } from "./canonical.ts"
import { SignatureRefusal } from "./signature-refusal.ts"

export interface AccessKey {
  readonly account: string
  readonly secret: string
}

export interface AccessKeys {
  find(accessKeyId: string): Promise<AccessKey | undefined>
}

/** Who signed, proven. */
export interface Identity {
  readonly accessKeyId: string
  readonly account: string
  readonly region: string
  /** Signs a piece of text that continues this request (aws-chunked); hex. */
  sign(text: string): string
  /** The request's own signature, which the first chunk's continues. */
  readonly signature: string
  /** `timestamp\nscope`, a part of every text signed. */
  readonly signedScope: string
  /** A key of the caller's own for sealing what only they should hand back; it outlives the daemon. */
  deriveKey(purpose: string): Buffer
}

/** A signature whose key and time are good: all that is missing is the payload's hash. */
export interface Candidate {
  readonly service: string
  /** Throws {@link SignatureRefusal} when the signature isn't that of this request with this payload. */
  confirm(payloadHash: string): Identity
}

export interface Verifier {
  /**
   * Checks all that can be known before the body is read; throws {@link SignatureRefusal}. `presignable` are the services whose requests
   * may be signed in their query: S3 alone, by default.
   */
  open(request: SignableRequest, services: readonly string[], presignable?: readonly string[]): Promise<Candidate>
}

const maxSkewMs = 5 * 60_000
const mismatch =
  "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."

const hmac = (key: string | Buffer, text: string) => createHmac("sha256", key).update(text).digest()
const sha256Hex = (text: string) => createHash("sha256").update(text).digest("hex")
const toStamp = (ms: number) => new Date(ms).toISOString().replace(/[-:]|\.\d{3}/g, "")
const fromStamp = (stamp: string) =>
  Date.parse(stamp.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6Z"))

const checkTime = (authorization: Authorization, nowMs: number) => {
  const { timestamp, expiresSeconds } = authorization
  const signedMs = fromStamp(timestamp)
  if (Number.isNaN(signedMs)) throw new SignatureRefusal("incomplete", `X-Amz-Date '${timestamp}' is not a date.`)
  if (timestamp.slice(0, 8) !== authorization.date) {
    throw new SignatureRefusal(
      "scope",
      `Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '${authorization.date}' != '${timestamp.slice(0, 8)}', from '${timestamp}'.`,
    )
  }
  if (signedMs > nowMs + maxSkewMs) {
    throw new SignatureRefusal(
      "skew",
      `Signature not yet current: ${timestamp} is still later than ${toStamp(nowMs + maxSkewMs)} (${toStamp(nowMs)} + 5 min.)`,
    )
  }
  if (expiresSeconds !== undefined) {
    if (nowMs > signedMs + expiresSeconds * 1000) throw new SignatureRefusal("expired", "Request has expired")
  } else if (signedMs < nowMs - maxSkewMs) {
    throw new SignatureRefusal(
      "skew",
      `Signature expired: ${timestamp} is now earlier than ${toStamp(nowMs - maxSkewMs)} (${toStamp(nowMs)} - 5 min.)`,
    )
  }
}

/** What changes a request's meaning must be under its signature. */
const checkSignedHeaders = (request: SignableRequest, authorization: Authorization) => {
  const { signedHeaders, service, expiresSeconds } = authorization
  const needed = expiresSeconds === undefined ? ["host", "x-amz-date"] : ["host"]
  if (service === "s3") needed.push(...[...request.headers.keys()].filter((name) => name.startsWith("x-amz-")))
  const unsigned = needed.filter((name) => !signedHeaders.includes(name))
  if (unsigned.length === 0) return
  if (unsigned.includes("host"))
    throw new SignatureRefusal("unsigned", "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
  throw new SignatureRefusal(
    "unsigned",
    `There were headers present in the request which were not signed: ${unsigned.join(", ")}`,
  )
}

/**
 * Verifies AWS Signature Version 4. Keys are remembered for a minute, so a deleted one works that much longer.
 * `now` is the clock, in milliseconds.
 */
export const createVerifier = (keys: AccessKeys, now: () => number = Date.now): Verifier => {
  const known = new LRUCache<string, AccessKey>({ max: 1000, ttl: 60_000 })
  const unknown = new LRUCache<string, true>({ max: 1000, ttl: 2_000 })

  const findKey = async (accessKeyId: string) => {
    const cached = known.get(accessKeyId)
    if (cached) return cached
    if (unknown.has(accessKeyId)) return undefined
    const found = await keys.find(accessKeyId)
    if (found) known.set(accessKeyId, found)
    else unknown.set(accessKeyId, true)
    return found
  }

  return {
    open: async (request, services, presignable) => {
      const authorization = parseAuthorization(request.target, request.headers, presignable)
      const { accessKeyId, date, region, service, timestamp } = authorization
      if (!services.includes(service)) {
        throw new SignatureRefusal("scope", `Credential should be scoped to correct service: '${services[0]}'.`)
      }
      checkSignedHeaders(request, authorization)
      checkTime(authorization, now())
      const key = await findKey(accessKeyId)
      // A session token beside a long-lived key was never ours.
      if (!key || request.headers.has("x-amz-security-token")) {
        throw new SignatureRefusal("unknownKey", "The security token included in the request is invalid.")
      }
      return {
        service,
        confirm: (payloadHash) => {
          const signingKey = hmac(hmac(hmac(hmac(`AWS4${key.secret}`, date), region), service), "aws4_request")
          const signedScope = `${timestamp}\n${date}/${region}/${service}/aws4_request`
          const sign = (text: string) => hmac(signingKey, text).toString("hex")
          const canonical = canonicalRequest(request, authorization, payloadHash)
          const expected = sign(`AWS4-HMAC-SHA256\n${signedScope}\n${sha256Hex(canonical)}`)
          if (!timingSafeEqual(Buffer.from(expected), Buffer.from(authorization.signature))) {
            throw new SignatureRefusal("mismatch", mismatch)
          }
          return {
            accessKeyId,
            account: key.account,
            region,
            sign,
            signature: authorization.signature,
            signedScope,
            deriveKey: (purpose) => hmac(`torpor${key.secret}`, purpose),
          }
        },
      }
    },
  }
}
