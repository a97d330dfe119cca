import { ServiceError } from "../../errors.ts"
import type { Log } from "../../log.ts"
import { SignatureRefusal, toJsonRefusal } from "./signature-refusal.ts"

/** How a service of JSON writes what AWS's services write differently. */
export interface Dialect {
  /** Members without a value: MicroVMs write `null`, others leave them out. */
  readonly absent: "null" | "omitted"
  /** By default `application/json`. */
  readonly contentType?: string
  /** The member of an error's body that holds its sentence. */
  readonly messageMember: (code: string) => "message" | "Message"
  /** Members of an error's body. */
  readonly errorMembers: (status: number, code: string) => Readonly<Record<string, unknown>>
  /** The code of what went wrong inside. */
  readonly internalError: string
  /** The code of what is to come again later, where it isn't `ThrottlingException`. */
  readonly throttled?: string
}

/** Epoch seconds with milliseconds as a fraction, the only form of a time that the SDKs take. */
export const toEpochSeconds = (date: Date | null): number | null => (date === null ? null : date.getTime() / 1000)

const withoutAbsent = (_name: string, value: unknown) => (value === null ? undefined : value)

const respond = (
  status: number,
  body: Record<string, unknown> | undefined,
  dialect: Dialect,
  headers: Record<string, string>,
) =>
  body === undefined
    ? new Response(null, { status, headers })
    : new Response(JSON.stringify(body, dialect.absent === "omitted" ? withoutAbsent : undefined), {
        status,
        headers: { "content-type": dialect.contentType ?? "application/json", ...headers },
      })

/** The answer of an operation that succeeded: the response that it made itself, or one of its members; without members there is no body. */
export const toAnswer = (
  status: number,
  body: Record<string, unknown> | Response | undefined,
  dialect: Dialect,
  requestId: string,
): Response => {
  if (!(body instanceof Response)) return respond(status, body, dialect, { "x-amzn-requestid": requestId })
  body.headers.set("x-amzn-requestid", requestId)
  return body
}

/** The answer for anything thrown. What isn't a {@link ServiceError} is logged with its cause and says nothing of it to the client. */
export const toErrorAnswer = (thrown: unknown, dialect: Dialect, requestId: string, log: Log): Response => {
  const error = thrown instanceof SignatureRefusal ? toJsonRefusal(thrown) : thrown
  const known =
    error instanceof ServiceError
      ? error
      : new ServiceError(
          dialect.internalError,
          500,
          `Internal server error. The log has more under request id ${requestId}.`,
        )
  if (known !== error) log.error({ err: error, requestId }, "a request failed inside")
  const code = known.code === "ThrottlingException" ? (dialect.throttled ?? known.code) : known.code
  const headers = { ...known.headers, "x-amzn-requestid": requestId, "x-amzn-errortype": code }
  const body = {
    ...dialect.errorMembers(known.status, code),
    [dialect.messageMember(code)]: known.message,
    ...known.members,
  }
  return respond(known.status, body, dialect, headers)
}
