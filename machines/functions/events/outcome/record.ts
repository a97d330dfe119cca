/** What is told of an event that is over, as AWS writes it. */
import { functionArn, LATEST } from "../../names.ts"
import type { QueuedEvent } from "../queue/event.ts"

export type Condition = "Success" | "RetriesExhausted" | "EventAgeExceeded" | "RecursiveInvocation"

/** What the function made of it the last time. */
export interface LastAnswer {
  readonly executedVersion: string
  readonly hasFailed: boolean
  readonly payload: Buffer
}

/** JSON as it came, or as a string what is none: numbers keep their digits, and nobody else's bytes end up between our braces. */
const embedded = (payload: Buffer): string => {
  const text = payload.toString("utf8")
  try {
    JSON.parse(text)
    return text
  } catch {
    return JSON.stringify(text)
  }
}

/** A destination's record; `attempts` is how often the function was given the event, an answer is missing when it never was. */
export const toRecord = (
  event: QueuedEvent,
  condition: Condition,
  attempts: number,
  answer: LastAnswer | undefined,
): Buffer => {
  const { requestId, scope, functionName, target, body } = event
  const members = [
    `"version":"1.0"`,
    `"timestamp":${JSON.stringify(new Date().toISOString())}`,
    `"requestContext":${JSON.stringify({
      requestId,
      functionArn: functionArn(scope, functionName, target === "" ? LATEST : target),
      condition,
      approximateInvokeCount: attempts,
    })}`,
    `"requestPayload":${embedded(body)}`,
    ...(answer === undefined
      ? []
      : [
          `"responseContext":${JSON.stringify({
            statusCode: 200,
            executedVersion: answer.executedVersion,
            ...(answer.hasFailed ? { functionError: "Unhandled" } : {}),
          })}`,
          `"responsePayload":${embedded(answer.payload)}`,
        ]),
  ]
  return Buffer.from(`{${members.join(",")}}`)
}

/** Of a dead letter's message. */
const MAX_MESSAGE_BYTES = 1024

/** What a failure says, for a dead letter: its `errorMessage`, or all of it. */
export const messageOfFailure = (payload: Buffer): string => {
  const text = payload.toString("utf8")
  try {
    const parsed = JSON.parse(text) as unknown
    if (typeof parsed === "object" && parsed !== null && "errorMessage" in parsed)
      return cut(String(parsed.errorMessage))
  } catch {
    // What isn't JSON is passed on as text.
  }
  return cut(text)
}

/** Cut between characters: half a character would become a replacement character of three bytes. */
const cut = (text: string): string => {
  const bytes = Buffer.from(text)
  if (bytes.length <= MAX_MESSAGE_BYTES) return text
  return new TextDecoder().decode(bytes.subarray(0, MAX_MESSAGE_BYTES), { stream: true })
}
