/** A guest's answer as its frames come: hostile until it has been looked at. */
import { z } from "zod"
import { unlessAborted } from "../../src/abort.ts"
import { parseFailureContent, type AnswerFrame } from "../../src/agent/event-frames.ts"
import { InvocationEnd } from "../../src/agent/protocol.ts"
import { wordsOf } from "../../src/words.ts"
import type { HostAnswer } from "./answer.ts"
import type { FunctionFailure } from "./environments.ts"

export interface Taken {
  readonly failure: FunctionFailure | undefined
  readonly bytes: number
  readonly end: InvocationEnd
}

/** The guest holds its function to these too. */
const [MAX_WHOLE_BYTES, MAX_STREAMED_BYTES] = [6_291_556, 200 * 1024 ** 2]

const MAX_ERROR_TYPE_CHARACTERS = 255

const Head = z.object({
  // It is told on in a header.
  contentType: z
    .string()
    .max(4096)
    .regex(/^[\t\x20-\x7e\x80-\xff]*$/),
  isStreamed: z.boolean(),
})

/**
 * Writes an answer to its reader: a stream at the reader's pace, anything else at once, since it is small. Resolves when the guest has
 * told its end; rejects when it breaks off, or says what is no answer.
 */
export const takeAnswer = async (
  frames: AsyncIterable<AnswerFrame>,
  answer: HostAnswer,
  mode: "buffered" | "streaming",
  signal: AbortSignal,
): Promise<Taken> => {
  let bytes = 0
  let isStreamed = false
  let failure: FunctionFailure | undefined
  let end: InvocationEnd | undefined
  for await (const { kind, content } of frames) {
    if (end !== undefined) throw new Error("The guest said more than its answer.")
    switch (kind) {
      case "head": {
        const head = Head.parse(JSON.parse(content.toString("utf8")))
        isStreamed = head.isStreamed && mode === "streaming"
        answer.begin(head)
        break
      }
      case "data": {
        bytes += content.length
        if (bytes > (isStreamed ? MAX_STREAMED_BYTES : MAX_WHOLE_BYTES))
          throw new Error("The guest's answer is too large.")
        const written = answer.write(content)
        if (isStreamed) await unlessAborted(written, signal)
        break
      }
      case "done":
        answer.finish()
        break
      case "failure":
        failure = toFailure(content)
        answer.finish(failure)
        break
      case "settled":
        end = InvocationEnd.parse(JSON.parse(content.toString("utf8")))
        break
    }
  }
  if (end === undefined || !answer.isFinished()) throw new Error("The guest ended its answer before it was whole.")
  return { failure, bytes, end }
}

/** Its name becomes a part of lines and records of ours. */
const toFailure = (content: Buffer): FunctionFailure => {
  const { errorType, body } = parseFailureContent(content)
  return { errorType: wordsOf(errorType, MAX_ERROR_TYPE_CHARACTERS), body }
}
