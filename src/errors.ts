/**
 * What a client can see. Everything else that is thrown is a bug or weather: it is logged with its cause and answered as 500.
 * `code` is AWS's error name (`X-Amzn-Errortype`), `status` its HTTP status, `members` further members of the error's body, `headers` further
 * headers of the answer.
 */
export class ServiceError extends Error {
  override readonly name = "ServiceError"
  readonly code: string
  readonly status: number
  readonly members: Readonly<Record<string, unknown>>
  readonly headers: Readonly<Record<string, string>>

  constructor(
    code: string,
    status: number,
    message: string,
    members: Record<string, unknown> = {},
    headers: Record<string, string> = {},
  ) {
    super(message)
    this.code = code
    this.status = status
    this.members = members
    this.headers = headers
  }
}

/** 400: the request is wrong and nothing happened. */
export const validationError = (message: string) => new ServiceError("ValidationException", 400, message)

/** 404: there is no such resource in this account and region. */
export const notFound = (message: string) =>
  new ServiceError("ResourceNotFoundException", 404, message, { resourceId: null, resourceType: null })

/** 409: the resource's state doesn't allow it, or a `clientToken` was used with other parameters. */
export const conflict = (message: string) =>
  new ServiceError("ConflictException", 409, message, { resourceId: null, resourceType: null })

/** 402: as many of them as are allowed are there. */
export const quotaExceeded = (message: string) =>
  new ServiceError("ServiceQuotaExceededException", 402, message, {
    resourceId: null,
    resourceType: null,
    serviceCode: null,
    quotaCode: null,
  })

/** An operator's mistake or a machine that lacks something: one sentence with what to do, printed without a stack. */
export class OperatorError extends Error {
  override readonly name = "OperatorError"
}

/** The text of anything thrown, for a log line or a stored failure. */
export const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error))

/** A failure as data: an Error itself becomes `{}` in JSON. */
export interface Failure {
  name: string
  message: string
}

/** Turns anything thrown into a {@link Failure}. */
export const toFailure = (error: unknown): Failure =>
  error instanceof Error ? { name: error.name, message: error.message } : { name: "Error", message: String(error) }
