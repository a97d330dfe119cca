/** The console, as functions on AWS have it: each line with its time, the invocation it belongs to, and its level. */
import { format } from "node:util"
import { isError, toErrorLine } from "./failure.ts"

const LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"] as const
type Level = (typeof LEVELS)[number]

/** What belongs to the invocation in progress. */
export interface Log {
  requestId: string | undefined
  tenantId: string | undefined
  /** What failed, and with what, as the runtime's own line. */
  error(what: string, thrown: unknown): void
}

/** Replaces the console's methods; lines below the level of `AWS_LAMBDA_LOG_LEVEL` are not written. */
export const patchConsole = (env: NodeJS.ProcessEnv, nobody: string): Log => {
  const write = process.stdout.write.bind(process.stdout)
  const isJson = env["AWS_LAMBDA_LOG_FORMAT"]?.toUpperCase() === "JSON"
  const asked = LEVELS.indexOf((env["AWS_LAMBDA_LOG_LEVEL"] ?? "").toUpperCase() as Level)

  const log: Log = {
    requestId: undefined,
    tenantId: undefined,
    error: (what, thrown) =>
      isJson
        ? console.error(isError(thrown) ? thrown : new Error(String(thrown)))
        : console.error(what, toErrorLine(thrown)),
  }
  const say = (level: Level, words: readonly unknown[]) => {
    const now = new Date().toISOString()
    const requestId = log.requestId ?? nobody
    const line = isJson
      ? toJson({ timestamp: now, level, requestId, ...(log.tenantId ? { tenantId: log.tenantId } : {}) }, words)
      : `${now}\t${requestId}\t${level}\t${format(...words)}`
    // A line is one event of the log, whatever is in it.
    write(`${line.replaceAll("\n", "\r")}\n`)
  }
  const method = (level: Level) =>
    LEVELS.indexOf(level) < asked ? () => {} : (...words: unknown[]) => say(level, words)
  const info = method("INFO")
  Object.assign(console, {
    trace: method("TRACE"),
    debug: method("DEBUG"),
    info,
    log: info,
    warn: method("WARN"),
    error: method("ERROR"),
    fatal: method("FATAL"),
  })
  return log
}

/** One thing that is said is itself the message, and may be an object; several are words. */
const toJson = (fields: object, words: readonly unknown[]): string => {
  const [message, ...more] = words
  if (more.length === 0) {
    try {
      return JSON.stringify({ ...fields, message }, (_, value: unknown) => (isError(value) ? withStack(value) : value))
    } catch {
      return JSON.stringify({ ...fields, message: format(message) })
    }
  }
  const error = more.find((word) => isError(word))
  return JSON.stringify({ ...fields, message: format(...words), ...(error === undefined ? {} : partsOf(error)) })
}

const partsOf = (error: Error) => ({
  errorType: error.constructor?.name ?? "UnknownError",
  errorMessage: error.message,
  stackTrace: typeof error.stack === "string" ? error.stack.split("\n") : [],
})

const withStack = (error: Error) => Object.assign(partsOf(error), error)
