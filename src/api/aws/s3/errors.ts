import { ServiceError } from "../../../errors.ts"
import type { Log } from "../../../log.ts"
import { SignatureRefusal, type RefusalReason } from "../signature-refusal.ts"
import { element, toXml } from "./xml.ts"

const refusals: Record<RefusalReason, [code: string, status: number, message?: string]> = {
  missing: ["AccessDenied", 403, "Access Denied"],
  incomplete: ["AuthorizationHeaderMalformed", 400],
  unknownKey: ["InvalidAccessKeyId", 403, "The AWS Access Key Id you provided does not exist in our records."],
  mismatch: ["SignatureDoesNotMatch", 403],
  scope: ["AuthorizationHeaderMalformed", 400],
  skew: ["RequestTimeTooSkewed", 403, "The difference between the request time and the current time is too large."],
  expired: ["AccessDenied", 403],
  payload: ["XAmzContentSHA256Mismatch", 400],
  unsigned: ["AccessDenied", 403],
}

const toServiceError = (thrown: unknown): ServiceError | undefined => {
  if (thrown instanceof ServiceError)
    return thrown.code === "ThrottlingException"
      ? new ServiceError("SlowDown", 503, "Please reduce your request rate.", {}, thrown.headers)
      : thrown
  if (!(thrown instanceof SignatureRefusal)) return undefined
  const [code, status, message = thrown.message] = refusals[thrown.reason]
  return new ServiceError(code, status, message)
}

/**
 * The answer for anything thrown, as S3 says it. `abandoned`: the client is gone, so what failed is no news.
 * HEAD has no body to say it in.
 */
export const toS3ErrorAnswer = (
  thrown: unknown,
  { method, path, requestId, abandoned }: { method: string; path: string; requestId: string; abandoned: boolean },
  log: Log,
): Response => {
  const known = toServiceError(thrown)
  if (!known && !abandoned) log.error({ err: thrown, requestId }, "a request to the artifact store failed inside")
  const error = known ?? new ServiceError("InternalError", 500, "We encountered an internal error. Please try again.")
  const headers = { ...error.headers, "x-amz-request-id": requestId, "content-type": "application/xml" }
  if (method === "HEAD" || error.status === 304) return new Response(null, { status: error.status, headers })
  const body = toXml(
    element("Error", [
      element("Code", error.code),
      element("Message", error.message),
      element("Resource", path),
      element("RequestId", requestId),
    ]),
  )
  return new Response(body, { status: error.status, headers })
}
