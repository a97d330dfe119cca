/** One try to tell of an event that is over: a destination's record, or a dead letter. */
import { messageOf, ServiceError } from "../../../src/errors.ts"
import type { Log } from "../../../src/log.ts"
import { NotWanted, type Send } from "./destinations/sender.ts"
import type { EventMetrics } from "./metrics.ts"
import { MAX_AGE_MS, type QueuedEvent, type Verdict } from "./queue/event.ts"

export interface TellingGround {
  senderOf(arn: string): Promise<{ send: Send; maxBytes: number } | undefined>
  readonly metrics: EventMetrics
  readonly log: Log
}

/** Tells of events, for as long as an event may wait. */
export const createTelling = ({ senderOf, metrics, log }: TellingGround) => {
  const drop = (event: QueuedEvent, reason: string): Verdict => {
    const { kind, target, functionName, requestId } = event
    metrics.ended(kind, "dropped")
    log.warn({ kind, target, function: functionName, requestId, reason }, "What is told of an event is dropped")
    return { is: "over", follow: [] }
  }

  return async (event: QueuedEvent, signal: AbortSignal): Promise<Verdict> => {
    const { kind, target, body, attributes, lineage, requestId } = event
    const expiresAt = new Date(event.acceptedAt.getTime() + MAX_AGE_MS)
    const sender = await senderOf(target)
    if (sender === undefined) return drop(event, "Torpor is configured without this destination")
    if (body.length > sender.maxBytes)
      return drop(event, `It is of ${body.length} bytes, and ${sender.maxBytes} are taken`)
    if (expiresAt.getTime() <= Date.now()) return drop(event, "Nobody has taken it for six hours")
    try {
      await sender.send({ id: requestId, body, attributes, lineage }, signal)
    } catch (error) {
      // A function that is not there; all other refusals are of now.
      if (error instanceof NotWanted || (error instanceof ServiceError && error.status === 404))
        return drop(event, messageOf(error))
      log.warn({ kind, target, requestId, reason: messageOf(error) }, "A destination takes nothing now")
      return { is: "held", until: expiresAt }
    }
    metrics.ended(kind, "delivered")
    if (kind === "dead-letter") log.info({ target, requestId }, "An event is with its dead letters")
    return { is: "over", follow: [] }
  }
}
