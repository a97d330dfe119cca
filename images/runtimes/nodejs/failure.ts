/** Errors as callers of AWS read them: a kind, a message, and the trace. */

/** What the runtime itself finds wrong; `name` is what callers see as its kind. */
export class RuntimeError extends Error {
  constructor(name: `Runtime.${string}`, message: string) {
    super(message)
    this.name = name
  }
}

export interface ErrorBody {
  readonly errorType: string
  readonly errorMessage: string
  readonly trace: readonly string[]
}

/** Of anything that was thrown, even of what only seems to be an error. */
export const toErrorBody = (thrown: unknown): ErrorBody => {
  try {
    if (!isError(thrown)) return { errorType: typeof thrown, errorMessage: String(thrown), trace: [] }
    // The one character that JSON lets through and a header does not.
    const plain = (text: string | undefined) => (text ?? "").replaceAll("\u007f", "%7F")
    const trace = thrown.stack === undefined ? [] : plain(thrown.stack).split("\n")
    return { errorType: plain(thrown.name), errorMessage: plain(thrown.message), trace }
  } catch {
    const errorMessage =
      "callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack"
    return { errorType: "handled", errorMessage, trace: [] }
  }
}

/** What a log's line says of it: with its own further members, and with its causes. */
export const toErrorLine = (thrown: unknown): string => {
  const error = isError(thrown) ? thrown : new Error(String(thrown))
  try {
    return `\t${JSON.stringify(error, (_, value: unknown) => (isError(value) ? withMembers(value) : value))}`
  } catch {
    return `\t${JSON.stringify(toErrorBody(error))}`
  }
}

const withMembers = (error: Error) => {
  const { name: errorType, message: errorMessage, code } = error as NodeJS.ErrnoException
  const stack = typeof error.stack === "string" ? { stack: error.stack.split("\n") } : {}
  return Object.assign({ errorType, errorMessage, code }, error, stack)
}

/** Of another realm, too. */
export const isError = (value: unknown): value is Error =>
  value instanceof Error || Object.prototype.toString.call(value) === "[object Error]"

/** A rejection that nobody handled, with what it was rejected with. */
export const toUnhandled = (reason: unknown, promise: Promise<unknown>): Error => {
  const error = new RuntimeError("Runtime.UnhandledPromiseRejection", String(isError(reason) ? reason : String(reason)))
  return Object.assign(error, { reason, promise })
}
