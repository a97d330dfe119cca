/** How a program ended, in the words that a function's callers know. */
import type { ProcessEnd } from "../../../../src/agent/protocol.ts"
import type { Failure } from "../invocation.ts"

const failure = (errorType: string, requestId: string, why: string, kind = errorType): Failure => ({
  errorType: kind,
  body: Buffer.from(JSON.stringify({ errorType, errorMessage: `RequestId: ${requestId} Error: ${why}` })),
})

/** Logs tell an end for want of memory from others; callers don't. */
export const toRuntimeEnd = (how: ProcessEnd, requestId: string): Failure =>
  failure(
    "Runtime.ExitError",
    requestId,
    how.code === 0 ? "Runtime exited without providing a reason" : `Runtime exited with error: ${wordsFor(how)}`,
    how.outOfMemory ? "Runtime.OutOfMemory" : "Runtime.ExitError",
  )

export const toExtensionEnd = (name: string, how: ProcessEnd, requestId: string): Failure =>
  failure("Extension.Crash", requestId, `extension ${name}: ${wordsFor(how)}`)

export const toLaunchError = (extension: string | undefined, error: Error, requestId: string): Failure =>
  extension === undefined
    ? failure("Runtime.InvalidEntrypoint", requestId, error.message)
    : failure("Extension.LaunchError", requestId, `extension ${extension}: ${error.message}`)

const SIGNALS: Readonly<Record<string, string>> = {
  SIGABRT: "aborted",
  SIGBUS: "bus error",
  SIGFPE: "floating point exception",
  SIGHUP: "hangup",
  SIGILL: "illegal instruction",
  SIGINT: "interrupt",
  SIGKILL: "killed",
  SIGSEGV: "segmentation fault",
  SIGTERM: "terminated",
}

const wordsFor = ({ code, signal }: ProcessEnd): string =>
  signal === null ? `exit status ${code}` : `signal: ${SIGNALS[signal] ?? signal}`
