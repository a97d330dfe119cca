import type { Dialect } from "../wire.ts"

/** Errors whose sentence AWS calls `Message`; all others call it `message`. */
const capital = /^(ResourceNotFound|Service|EC2\w*|ENI\w*|EFS\w*|KMS\w*|SnapStart\w*|\w*Durable\w*)Exception$/

/** What AWS refuses before the service itself sees it says nothing of whose fault it is. */
const untyped = new Set(["ValidationException", "RequestEntityTooLargeException"])

/** How Lambda's Functions API writes: members without a value are left out, and errors say whose they are. */
export const functionsDialect: Dialect = {
  absent: "omitted",
  internalError: "ServiceException",
  throttled: "TooManyRequestsException",
  messageMember: (code) => (capital.test(code) ? "Message" : "message"),
  errorMembers: (status, code) => (untyped.has(code) ? {} : { Type: status < 500 ? "User" : "Service" }),
}
