/** Links to zips: presigned requests to the built-in store, signed with a key that nobody ever sees. */
import { createHash, createHmac } from "node:crypto"
import { CODE_PLACE } from "../../../../../machines/functions/code/code-store.ts"
import { awsEncode, canonicalRequest } from "../../canonical.ts"
import type { AccessKeys } from "../../sigv4.ts"
import { parseTarget } from "../../target.ts"

export interface CodeLinks {
  /** A link to a zip by its hash, for a client that reached us under `host`. */
  toCode(sha256: string, host: string, region: string): string
  /** The keys of callers, and the one that links are signed with. */
  withKey(keys: AccessKeys): AccessKeys
}

const ACCESS_KEY_ID = "TORPORFUNCTIONCODE"
const EXPIRES_SECONDS = 600

const hmac = (key: string | Buffer, text: string) => createHmac("sha256", key).update(text).digest()

/** Makes links that are good for ten minutes. `secret` is the daemon's own. */
export const createCodeLinks = (
  secret: string,
  keyOf: (sha256: string) => string,
  now: () => number = Date.now,
): CodeLinks => ({
  withKey: (keys) => ({
    find: async (accessKeyId) =>
      accessKeyId === ACCESS_KEY_ID ? { account: CODE_PLACE.account, secret } : keys.find(accessKeyId),
  }),
  toCode(sha256, host, region) {
    const timestamp = new Date(now()).toISOString().replace(/[-:]|\.\d{3}/g, "")
    const date = timestamp.slice(0, 8)
    const scope = `${date}/${region}/s3/aws4_request`
    const query = Object.entries({
      "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
      "X-Amz-Credential": `${ACCESS_KEY_ID}/${scope}`,
      "X-Amz-Date": timestamp,
      "X-Amz-Expires": String(EXPIRES_SECONDS),
      "X-Amz-SignedHeaders": "host",
    })
      .map(([name, value]) => `${name}=${awsEncode(value)}`)
      .join("&")
    const path = `/${CODE_PLACE.bucket}/${keyOf(sha256)}?${query}`
    const authorization = {
      accessKeyId: ACCESS_KEY_ID,
      date,
      region,
      service: "s3",
      signedHeaders: ["host"],
      signature: "",
      timestamp,
      expiresSeconds: EXPIRES_SECONDS,
    }
    const request = { method: "GET", target: parseTarget(path), headers: new Headers({ host }) }
    const canonical = canonicalRequest(request, authorization, "UNSIGNED-PAYLOAD")
    const text = `AWS4-HMAC-SHA256\n${timestamp}\n${scope}\n${createHash("sha256").update(canonical).digest("hex")}`
    const key = hmac(hmac(hmac(hmac(`AWS4${secret}`, date), region), "s3"), "aws4_request")
    return `http://${host}${path}&X-Amz-Signature=${hmac(key, text).toString("hex")}`
  },
})
