/** Somebody outside who is told of events that are over. */
import type { DeadLetterAttributes, Lineage } from "../../../../src/db/function-values.ts"

export interface Message {
  /** The same whenever it is sent again. */
  readonly id: string
  readonly body: Buffer
  readonly attributes: DeadLetterAttributes | null
  /** For a function. */
  readonly lineage: Lineage
}

/** Resolves when it is theirs. Throws {@link NotWanted}, or anything else when it may be sent again. */
export type Send = (message: Message, signal: AbortSignal) => Promise<void>

/** This message will not be taken however often it is sent. */
export class NotWanted extends Error {
  override readonly name = "NotWanted"
}

/** Of one message, in bytes: of a queue, a function and a webhook 1 MiB, of a topic a quarter of it, attributes included. */
export const MAX_MESSAGE_BYTES = { sqs: 1_048_576, sns: 262_144, lambda: 1_048_576, webhook: 1_048_576 } as const

/** What a server has to answer, and how much of its answer is read. */
export const [TIMEOUT_MS, MAX_ANSWER_BYTES] = [10_000, 65_536]

/** The attributes of a dead letter, with their types. */
export const typedAttributes = (
  attributes: DeadLetterAttributes | null,
): [name: string, type: string, value: string][] =>
  attributes === null
    ? []
    : [
        ["RequestID", "String", attributes.requestId],
        ["ErrorCode", "Number", String(attributes.errorCode)],
        // A queue takes no empty value.
        ["ErrorMessage", "String", attributes.errorMessage === "" ? "Unknown" : attributes.errorMessage],
      ]
