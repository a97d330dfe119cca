/** What is answered instead of a function, in AWS's words where it has any. */
import type { ServiceError } from "../../src/errors.ts"
import type { EdgeAnswer } from "../errors.ts"

/** Thrown by any step of a request's way to its function, answered in one place. */
export class UrlRefusal extends Error {
  override readonly name = "UrlRefusal"
  readonly status: number
  readonly body: string
  /** AWS's name for it, where it has one. */
  readonly errorType: string | undefined
  /** Further headers of the answer. */
  readonly headers: Readonly<Record<string, string>>

  constructor(status: number, body: string, errorType?: string, headers: Record<string, string> = {}) {
    super(body)
    this.status = status
    this.body = body
    this.errorType = errorType
    this.headers = headers
  }
}

const inJson = (status: number, errorType: string, body: object, headers?: Record<string, string>) =>
  new UrlRefusal(status, JSON.stringify(body), errorType, { "content-type": "application/json", ...headers })

/** Nobody has this address. */
export const unknownUrl = () => inJson(403, "AccessDeniedException", { Message: null })

/** Whoever asks is not let in, or hasn't signed. */
export const forbidden = () =>
  inJson(403, "AccessDeniedException", {
    Message:
      "Forbidden. For troubleshooting Function URL authorization issues, see: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html",
  })

export const tooLarge = (maxBytes: number) =>
  inJson(413, "RequestEntityTooLargeException", {
    Message: `Request must be smaller than ${maxBytes} bytes for the InvokeFunction operation`,
  })

/** The function has failed, or has answered what is no answer. */
export const badGateway = () =>
  new UrlRefusal(502, "Internal Server Error", undefined, { "content-type": "text/plain; charset=utf-8" })

/** The edge's own limits on one URL: to its callers, a throttle like the function's. */
export const throttledByEdge = (name: string) =>
  inJson(
    429,
    "TooManyRequestsException",
    { Type: "User", message: "Rate Exceeded.", Reason: "CallerRateLimitExceeded" },
    { "retry-after": "1", "x-aws-proxy-error": name },
  )

/** What kept the function from being invoked. */
export const ofService = ({ code, status, message, members, headers }: ServiceError): UrlRefusal => {
  // Its function went while its address was still known.
  if (status === 404) return unknownUrl()
  if (status === 429) return inJson(429, code, { Type: "User", message, ...members }, headers)
  return inJson(status, code, { message }, headers)
}

export const toAnswer = ({ status, body, errorType, headers }: UrlRefusal, requestId: string): EdgeAnswer => ({
  status,
  body,
  headers: {
    ...headers,
    "content-length": Buffer.byteLength(body),
    "cache-control": "private, no-store",
    "x-amzn-requestid": requestId,
    ...(errorType === undefined ? {} : { "x-amzn-errortype": errorType }),
  },
})
