/**
 * A function's events on their way from the host, and their answers on their way back, on one HTTP/2 stream for as long as both sides
 * live: a request for each would cost an emulated processor more than the event. Frames both ways, as answer-frames.ts has them.
 */
import { once } from "node:events"
import { constants, type Http2ServerRequest, type Http2ServerResponse } from "node:http2"
import { setTimeout as sleep } from "node:timers/promises"
import {
  EVENT_KIND,
  FRAME_MAX_BYTES,
  parseEventContent,
  toFailureContent,
  toFrame,
} from "../../../src/agent/answer-frames.ts"
import type { InvocationEnd, InvocationSpec, SentInvocation } from "../../../src/agent/protocol.ts"
import { createFrameReader } from "./frame-reader.ts"
import type { Answer, AnswerHead } from "./invocation.ts"

/** An event that a function has: its answer, and what is said of its end when the environment may be frozen. */
export interface Begun {
  readonly answer: Omit<Answer, "settled">
  readonly end: () => Promise<InvocationEnd>
}

/** How much earlier than its event a guest may think it is, and how long it is waited for that this changes. */
const CLOCK_SLACK_MS = 10
const CLOCK_WAIT_MS = 2000

/** Serves a stream until it is closed; `begin` gives the function an event, and the stream ends where that throws. */
export const serveEvents = async (
  request: Http2ServerRequest,
  response: Http2ServerResponse,
  begin: (spec: InvocationSpec, payload: Buffer) => Begun,
): Promise<void> => {
  const { stream } = response
  const closed = new Promise<void>((resolve) => stream.once("close", resolve))
  const fail = () => void (stream.destroyed || stream.close(constants.NGHTTP2_INTERNAL_ERROR))
  const serve = async (content: Buffer) => {
    const [words, payload] = parseEventContent(content)
    const { sentAt, ...spec } = JSON.parse(words) as SentInvocation
    if (isEarly(sentAt)) await untilClock(sentAt)
    const { answer, end } = begin(spec, payload)
    await sendAnswer(answer, response, closed, end)
  }
  const read = createFrameReader(FRAME_MAX_BYTES, (kind, content) => {
    if (kind !== EVENT_KIND || content === undefined) fail()
    else serve(content).catch(fail)
  })
  response.writeHead(200, { "content-type": "application/octet-stream" })
  request.on("data", read)
  await closed
}

const isEarly = (sentAt: number) => Date.now() < sentAt - CLOCK_SLACK_MS

/** The guest was stopped, and this may have been heard before the helper that sets its clock. */
const untilClock = async (sentAt: number): Promise<void> => {
  const startedAt = performance.now()
  while (isEarly(sentAt) && performance.now() - startedAt < CLOCK_WAIT_MS) await sleep(1)
}

/** Every piece as it comes, at the host's pace; when the host has gone the runtime's answer goes nowhere, and it is not held up. */
const sendAnswer = async (
  answer: Begun["answer"],
  response: Http2ServerResponse,
  gone: Promise<void>,
  settled: () => Promise<InvocationEnd>,
) => {
  const { stream } = response
  const send = async (frame: Buffer) => {
    if (stream.destroyed || response.write(frame)) return
    await Promise.race([once(response, "drain").catch(() => {}), gone])
  }
  const head = await answer.head
  if (head !== undefined && answer.whole !== undefined) await send(toWholeAnswer(head, answer.whole))
  else {
    if (head !== undefined) await send(toFrame("head", toHead(head)))
    const leave = () => void answer.body.destroy()
    if (stream.destroyed) leave()
    stream.once("close", leave)
    try {
      for await (const chunk of answer.body) await send(toFrame("data", chunk as Buffer))
    } catch {
      // Destroyed, with its reader.
    } finally {
      stream.off("close", leave)
    }
    const failure = await answer.end
    await send(
      failure === undefined ? toFrame("done") : toFrame("failure", toFailureContent(failure.errorType, failure.body)),
    )
  }
  await send(toFrame("settled", Buffer.from(JSON.stringify(await settled()))))
}

const toWholeAnswer = (head: AnswerHead, body: Buffer): Buffer =>
  Buffer.concat([toFrame("head", toHead(head)), toFrame("data", body), toFrame("done")])

const toHead = (head: AnswerHead): Buffer => Buffer.from(JSON.stringify(head))
