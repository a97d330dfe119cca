/** Why an event is not given to its function, in AWS's words. */
import { ServiceError } from "../../../src/errors.ts"
import { LOOP_STOPPED } from "../lineage.ts"
import { conflict } from "../refusals.ts"

export type ThrottleReason =
  | "CallerRateLimitExceeded"
  | "ConcurrentInvocationLimitExceeded"
  | "FunctionInvocationRateLimitExceeded"
  | "ReservedFunctionConcurrentInvocationLimitExceeded"
  | "ReservedFunctionInvocationRateLimitExceeded"

const RETRY_AFTER_SECONDS = 1

/** 429: as many as may are at work, or come in a second. */
export const throttled = (reason: ThrottleReason, retryAfterSeconds = RETRY_AFTER_SECONDS) =>
  new ServiceError(
    "TooManyRequestsException",
    429,
    "Rate Exceeded.",
    { Reason: reason },
    { "retry-after": String(retryAfterSeconds) },
  )

/** 500: it is this host that cannot; the SDK tries again. */
export const unavailable = (message: string) =>
  new ServiceError("ServiceException", 500, message, {}, { "retry-after": String(RETRY_AFTER_SECONDS) })

/** 400: it goes round and round. */
export const loopStopped = () => new ServiceError("RecursiveInvocationException", 400, LOOP_STOPPED)

/** 409: a published version's snapshot is being made. */
export const snapshotNotReady = () =>
  new ServiceError(
    "SnapStartNotReadyException",
    409,
    "Lambda is initializing your function. It will be ready to invoke once your function state becomes ACTIVE.",
  )

/** 409: it cannot be invoked as it is. */
export const notInvocable = (state: string) =>
  conflict(`The operation cannot be performed at this time. The function is currently in the following state: ${state}`)
