/** A function's events on their way from the host, and their answers on their way back, in frames as event-frames.ts has them. */
import { once } from "node:events"
import type { Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { parseEventContent, toAnswerFrame, toFailureContent } from "../../../src/agent/event-frames.ts"
import type { InvocationEnd, InvocationSpec, SentInvocation } from "../../../src/agent/protocol.ts"
import type { Answer, AnswerHead } from "./invocation.ts"

/** An event that a function has: its answer, and what is said of its end when the environment may be frozen. */
export interface Begun {
  readonly answer: Omit<Answer, "settled">
  readonly end: () => Promise<InvocationEnd>
}

/** How much earlier than its event a guest may think it is, and how long it is waited for that this changes. */
const CLOCK_SLACK_MS = 10
const CLOCK_WAIT_MS = 2000

/** Serves the events of connections; `begin` gives the function one, and a connection is closed where that throws. */
export const createEventServer =
  (begin: (spec: InvocationSpec, payload: Buffer) => Begun) =>
  (connection: Socket): ((content: Buffer) => void) => {
    const closed = new Promise<void>((resolve) => connection.once("close", resolve))
    const serve = async (content: Buffer) => {
      const [words, payload] = parseEventContent(content)
      const { sentAt, ...spec } = JSON.parse(words) as SentInvocation
      if (isEarly(sentAt)) await untilClock(sentAt)
      const { answer, end } = begin(spec, payload)
      await sendAnswer(answer, connection, closed, end)
    }
    return (content) => void serve(content).catch(() => connection.destroy())
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
  connection: Socket,
  gone: Promise<void>,
  settled: () => Promise<InvocationEnd>,
) => {
  const send = async (frame: Buffer) => {
    if (connection.destroyed || connection.write(frame)) return
    await Promise.race([once(connection, "drain").catch(() => {}), gone])
  }
  const head = await answer.head
  const whole = answer.whole()
  if (head !== undefined && whole !== undefined) await send(toWholeAnswer(head, whole))
  else {
    if (head !== undefined) await send(toAnswerFrame("head", toHead(head)))
    const leave = () => void answer.body().destroy()
    if (connection.destroyed) leave()
    connection.once("close", leave)
    try {
      for await (const chunk of answer.body()) await send(toAnswerFrame("data", chunk as Buffer))
    } catch {
      // Destroyed, with its reader.
    } finally {
      connection.off("close", leave)
    }
    const failure = await answer.end
    await send(
      failure === undefined
        ? toAnswerFrame("done")
        : toAnswerFrame("failure", toFailureContent(failure.errorType, failure.body)),
    )
  }
  await send(toAnswerFrame("settled", Buffer.from(JSON.stringify(await settled()))))
}

const toWholeAnswer = (head: AnswerHead, body: Buffer): Buffer =>
  Buffer.concat([toAnswerFrame("head", toHead(head)), toAnswerFrame("data", body), toAnswerFrame("done")])

const toHead = (head: AnswerHead): Buffer => Buffer.from(JSON.stringify(head))
