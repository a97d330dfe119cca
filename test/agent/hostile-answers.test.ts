import { describe, expect, it } from "vitest"
import { toFailureContent, type AnswerFrame } from "../../src/agent/event-frames.ts"
import { FunctionStep } from "../../src/agent/protocol.ts"
import { createAnswer } from "../../machines/environments/answer.ts"
import { takeAnswer } from "../../machines/environments/answer-taking.ts"

const NAME = "Runtime.Oops\u0000\nREPORT RequestId: forged"
const HARMLESS = "Runtime.Oops\\u0000\\u000aREPORT RequestId: forged"

async function* frames(): AsyncGenerator<AnswerFrame> {
  const end = { durationMs: 1, isOver: false, maxMemoryBytes: 0 }
  yield { kind: "failure", content: toFailureContent(NAME, Buffer.from("{}")) }
  yield { kind: "settled", content: Buffer.from(JSON.stringify(end)) }
}

describe("The name that a guest gives a failure", () => {
  it("makes no line of its own in a log, and can be stored", async () => {
    const taken = await takeAnswer(frames(), createAnswer(), "buffered", new AbortController().signal)
    expect(taken.failure?.errorType).toBe(HARMLESS)
    expect(FunctionStep.parse({ failed: NAME, hasExtensions: false }).failed).toBe(HARMLESS)
  })
})
