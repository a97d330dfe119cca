import type { IncomingHttpHeaders } from "node:http"
import { SignatureRefusal, toJsonRefusal } from "../signature-refusal.ts"
import type { Verifier } from "../sigv4.ts"
import { parseTarget } from "../target.ts"

interface Signer {
  readonly accessKeyId: string
  readonly account: string
  readonly region: string
}

/** Signatures of requests to function URLs, for whoever serves them: those of AWS Lambda's name. */
export interface UrlSignatures {
  /**
   * Checks what can be known before the body is read; `undefined` without a signature. What comes of it takes the body's SHA-256 in
   * hex. Both throw a ServiceError for a signature that isn't good.
   */
  open(method: string, path: string, headers: IncomingHttpHeaders): Promise<((bodyHash: string) => Signer) | undefined>
}

const SERVICES = ["lambda"]

/** Reads signatures from headers, and from the query of a presigned URL. */
export const createUrlSignatures = (verifier: Verifier): UrlSignatures => ({
  async open(method, path, headers) {
    try {
      const request = { method, target: parseTarget(path), headers: toHeaders(headers) }
      const candidate = await verifier.open(request, SERVICES, SERVICES)
      const claimed = request.headers.get("x-amz-content-sha256")
      return (bodyHash) =>
        inWords(() => {
          if (claimed !== null && claimed !== bodyHash)
            throw new SignatureRefusal(
              "payload",
              "The value passed in as x-amz-content-sha256 does not match the SHA256 hash of the request payload.",
            )
          const { accessKeyId, account, region } = candidate.confirm(bodyHash)
          return { accessKeyId, account, region }
        })
    } catch (error) {
      if (error instanceof SignatureRefusal && error.reason === "missing") return undefined
      throw toWords(error)
    }
  },
})

const toHeaders = (headers: IncomingHttpHeaders): Headers => {
  const all = new Headers()
  for (const [name, value] of Object.entries(headers))
    for (const one of [value].flat()) if (one !== undefined) all.append(name, one)
  return all
}

const toWords = (error: unknown) => (error instanceof SignatureRefusal ? toJsonRefusal(error) : error)

const inWords = <T>(work: () => T): T => {
  try {
    return work()
  } catch (error) {
    throw toWords(error)
  }
}
