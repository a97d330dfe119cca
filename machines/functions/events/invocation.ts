/** One try of an asynchronous invocation: what is made of it, and who is told. */
import { ServiceError } from "../../../src/errors.ts"
import type { Log } from "../../../src/log.ts"
import type { Database } from "../../vm-row.ts"
import type { Invoked, Invoker } from "../invoking/invoker.ts"
import { afterRound, afterStop, LOOP_STOPPED, loopOf } from "../lineage.ts"
import { functionArn, type FunctionReference } from "../names.ts"
import { findVersion } from "../rows.ts"
import type { EventMetrics } from "./metrics.ts"
import { readAnswer } from "./outcome/answer.ts"
import { messageOfFailure, toRecord, type Condition, type LastAnswer } from "./outcome/record.ts"
import type { NewEvent, QueuedEvent, Treatment, Verdict } from "./queue/event.ts"
import type { Room } from "./queue/room.ts"

export interface InvocationGround {
  readonly db: Database
  readonly invoker: Invoker
  readonly room: Room
  readonly metrics: EventMetrics
  readonly log: Log
  /** After the function's first failure with an event, after its second. */
  readonly retryMs: readonly number[]
}

/** Told in a dead letter of an event that was refused until it was too old. */
const TOO_OLD = { errorCode: 429, errorMessage: "Rate Exceeded." }
/** Of one that has come through its function too often. */
const IN_A_LOOP = { errorCode: 400, errorMessage: LOOP_STOPPED }

const endings = {
  RetriesExhausted: "retries-exhausted",
  EventAgeExceeded: "age-exceeded",
  RecursiveInvocation: "loop-stopped",
} as const

/** A refusal that may be over the next time: a throttle, a function that is not ready, a host that is full. */
const mayPass = (error: ServiceError) => error.status === 429 || error.status === 409 || error.status >= 500

/** Tries events with the invoker. */
export const createInvocations = ({ db, invoker, room, metrics, log, retryMs }: InvocationGround) => {
  const deadLetterArn = async (event: QueuedEvent, executedVersion: string | undefined) => {
    const asked: FunctionReference = {
      name: event.functionName,
      qualifier: executedVersion ?? (event.target === "" ? undefined : event.target),
    }
    try {
      return (await findVersion(db, asked, event.scope)).version.settings.deadLetterArn
    } catch (error) {
      if (error instanceof ServiceError) return null
      throw error
    }
  }

  const tell = (event: QueuedEvent, kind: NewEvent["kind"], target: string, body: Buffer): NewEvent => ({
    functionId: event.functionId,
    kind,
    target,
    scope: event.scope,
    functionName: event.functionName,
    requestId: event.requestId,
    body,
    clientContext: null,
    traceId: null,
    attributes: null,
    lineage: afterRound(event.lineage, event.functionId),
  })

  const giveUp = async (
    event: QueuedEvent,
    condition: Exclude<Condition, "Success">,
    attempts: number,
    answer: LastAnswer | undefined,
    treatment: Treatment,
  ): Promise<Verdict> => {
    const { onFailure } = treatment.destinations
    const deadLetter = await deadLetterArn(event, answer?.executedVersion)
    const isLoop = condition === "RecursiveInvocation"
    const unanswered = isLoop ? IN_A_LOOP : TOO_OLD
    const follow: NewEvent[] = []
    if (onFailure !== null)
      follow.push({
        ...tell(event, "destination", onFailure, toRecord(event, condition, attempts, answer)),
        ...(isLoop ? { lineage: afterStop(event.lineage, event.functionId) } : {}),
      })
    if (deadLetter !== null)
      follow.push({
        ...tell(event, "dead-letter", deadLetter, event.body),
        attributes: {
          requestId: event.requestId,
          ...(answer === undefined ? unanswered : { errorCode: 200, errorMessage: messageOfFailure(answer.payload) }),
        },
      })
    metrics.ended("invocation", endings[condition])
    log.warn({ ...named(event), condition, attempts, destination: onFailure, deadLetter }, "An event is given up")
    return { is: "over", follow }
  }

  const succeed = (event: QueuedEvent, answer: LastAnswer, { destinations }: Treatment): Verdict => {
    metrics.ended("invocation", "delivered")
    if (destinations.onSuccess === null) return { is: "over", follow: [] }
    const record = toRecord(event, "Success", event.attempts + 1, answer)
    return { is: "over", follow: [tell(event, "destination", destinations.onSuccess, record)] }
  }

  const refused = (event: QueuedEvent, error: ServiceError): Verdict => {
    metrics.ended("invocation", "dropped")
    log.warn(
      { ...named(event), code: error.code, reason: error.message },
      "An event is dropped: it cannot be delivered",
    )
    return { is: "over", follow: [] }
  }

  /** What was told of the loop may come round itself: that is told nobody. */
  const stop = async (event: QueuedEvent, isTold: boolean, treatment: Treatment): Promise<Verdict> => {
    if (!isTold) return giveUp(event, "RecursiveInvocation", event.attempts, undefined, treatment)
    metrics.ended("invocation", "dropped")
    log.warn(named(event), "An event is dropped: what is told of a loop has come round it")
    return { is: "over", follow: [] }
  }

  return async (event: QueuedEvent, treatment: Treatment, signal: AbortSignal): Promise<Verdict> => {
    const loop = treatment.stopsLoops ? loopOf(event.lineage, event.functionId) : "none"
    if (loop !== "none") return stop(event, loop === "told", treatment)
    const expiresAt = new Date(event.acceptedAt.getTime() + treatment.maximumAgeMs)
    if (expiresAt.getTime() <= Date.now())
      return giveUp(event, "EventAgeExceeded", event.attempts, undefined, treatment)
    if (room.isFull(event.functionId)) return { is: "held", until: expiresAt }
    let invoked: Invoked
    try {
      invoked = await invoker.invoke(
        {
          requestId: event.requestId,
          target: { name: event.functionName, qualifier: event.target === "" ? undefined : event.target },
          scope: event.scope,
          payload: event.body,
          mode: "buffered",
          clientContext: event.clientContext ?? undefined,
          traceId: event.traceId ?? undefined,
          lineage: event.lineage,
        },
        signal,
      )
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error
      return mayPass(error) ? { is: "held", until: expiresAt } : refused(event, error)
    }
    const answer = await readAnswer(invoked, treatment.destinations.onSuccess !== null)
    if (!answer.hasFailed) return succeed(event, answer, treatment)
    const attempts = event.attempts + 1
    if (attempts > treatment.maximumRetries) return giveUp(event, "RetriesExhausted", attempts, answer, treatment)
    const at = new Date(Date.now() + (retryMs[attempts - 1] ?? retryMs.at(-1) ?? 0))
    // What would be too old then is told now, while the answer is known.
    if (at >= expiresAt) return giveUp(event, "EventAgeExceeded", attempts, answer, treatment)
    metrics.retried()
    return { is: "later", attempts, at }
  }
}

/** An event in the log: whose, and which, and nothing that is in it. */
const named = ({ scope, functionName, target, requestId }: QueuedEvent) => ({
  function: functionArn(scope, functionName, target),
  requestId,
})
