/** One event of an environment: from the VM's continuing to where its answer is settled. No database is on this way. */
import { unlessAborted } from "../../src/abort.ts"
import { AgentError } from "../../src/agent/agent-error.ts"
import { messageOf } from "../../src/errors.ts"
import type { Ending } from "../vm.ts"
import { takeAnswer, type Taken } from "./answer-taking.ts"
import type { Given } from "./desk.ts"
import type { FunctionFailure } from "./environments.ts"
import { startEventTime, type EventTime } from "./event-time.ts"
import { timeoutWords, toPlatformRecord, type PlatformEvent, type PlatformStatus } from "./platform-lines.ts"
import { connectionOf, thawSession, type Connection, type Session } from "./session.ts"
import { VmEnded } from "./vm-end.ts"

/** What becomes of an environment whose event has been answered. */
export type Outcome =
  | { readonly kind: "served" }
  /** Its programs are to be ended; `hasBegun`: their Init was over before the event, and may be done again. */
  | { readonly kind: "reset"; readonly reason: "TIMEOUT" | "FAILURE"; readonly hasBegun: boolean }
  | { readonly kind: "over"; readonly ending: Ending }

const TIMED_OUT = "Sandbox.Timedout"
/** For an event's words on their way, and for a word to extensions. */
const HEARD_MS = 2000
/** For what is asked of the programs of a guest that was taken over. */
const ASKED_MS = 5000

/** Serves it, and answers in every case; `signal` cuts it off. */
export const serveEvent = async (session: Session, given: Given, signal: AbortSignal): Promise<Outcome> => {
  const { event, answer } = given
  const { requestId, functionArn } = event.spec
  const failure = timedOut(requestId, event.timeoutMs)
  let isThawed = false
  const connection = connectionOf(session)
  const { gone, log, live } = connection
  using time = startEventTime(event.timeoutMs, [signal, gone], () => {
    // What the guest still holds of its answer is little: the reader's pace is nothing to wait for any more.
    answer.hurry()
    connection.agent.failFunction(failure.spec, time.signal).catch(() => {})
  })
  const { initMs } = session
  session.initMs = undefined
  try {
    // What follows is sent meanwhile, and waits in the guest.
    const thawed = thawSession(session, time.signal).then(
      () => void (isThawed = true),
      (error: unknown) => time.cut(error),
    )
    log.begin()
    log.say({ type: "start", requestId, functionArn })
    const heard = live.guest.untilMarked(requestId, time.signal)
    heard.catch(() => {})
    if (session.programs === "unknown") await findPrograms(session, connection, time.signal)
    const isStarting = session.programs === "ended"
    if (isStarting) await beginPrograms(session, connection, time.signal)
    const spec = { ...event.spec, deadlineMs: Math.ceil(Date.now() + event.timeoutMs - time.elapsedMs()) }
    const frames = connection.agent.invokeFunction(spec, event.payload, time.signal)
    const taken = await takeAnswer(frames, answer, event.spec.mode, time.signal)
    await thawed
    time.signal.throwIfAborted()
    session.programs = "running"
    await unlessAborted(heard, AbortSignal.timeout(HEARD_MS)).catch(() => {})
    const durationMs = isStarting || time.isLate() ? time.elapsedMs() : Math.min(taken.end.durationMs, time.elapsedMs())
    await conclude(session, connection, given, { durationMs, initMs, ...taken })
    if (!taken.end.isOver) return { kind: "served" }
    const reason = taken.failure?.errorType === TIMED_OUT ? "TIMEOUT" : "FAILURE"
    return { kind: "reset", reason, hasBegun: !isStarting }
  } catch (error) {
    return breakOff(session, connection, given, { time, initMs, isThawed, error })
  }
}

/** What the guest didn't tell is told for it. */
const breakOff = async (
  session: Session,
  connection: Connection,
  given: Given,
  { time, initMs, isThawed, error }: { time: EventTime; initMs: number | undefined; isThawed: boolean; error: unknown },
): Promise<Outcome> => {
  const { event, answer } = given
  const why = (time.signal.aborted ? time.signal.reason : error) as Error
  const isRefused = why instanceof NotStarted
  const failure = isRefused
    ? failureOf("Extension.LaunchError", event.spec.requestId, why.message)
    : time.isLate()
      ? timedOut(event.spec.requestId, event.timeoutMs).failure
      : failureOf("Runtime.ExitError", event.spec.requestId, "Runtime exited without providing a reason")
  // One that the function never had may be another environment's.
  if (!isThawed) answer.refuse(why)
  answer.finish(failure)
  const end = { durationMs: 0, isOver: true, maxMemoryBytes: 0 }
  await conclude(session, connection, given, { durationMs: time.elapsedMs(), initMs, failure, bytes: 0, end })
  if (isRefused) return { kind: "served" }
  if (why instanceof VmEnded) return { kind: "over", ending: why.ending }
  return { kind: "over", ending: { cause: "exit", reason: `An event could not be brought to its end: ${why.message}` } }
}

/** The lines of its end, and then whoever gave it is told. */
const conclude = async (
  session: Session,
  { log, agent }: Connection,
  { event, answer }: Given,
  { durationMs: measuredMs, initMs, failure, bytes, end }: Taken & { durationMs: number; initMs: number | undefined },
): Promise<void> => {
  const { requestId } = event.spec
  const durationMs = Math.min(measuredMs, event.timeoutMs)
  const billedMs = Math.ceil(durationMs + (initMs ?? 0))
  const { restored } = session
  session.restored = undefined
  const status = statusOf(failure, end.isOver)
  const { maxMemoryBytes } = end
  const times = { durationMs, billedMs, initMs, ...restored }
  const report: PlatformEvent = { type: "report", requestId, ...times, maxMemoryBytes, ...status }
  log.say({ type: "runtimeDone", requestId, durationMs, producedBytes: bytes, ...status })
  log.say(report)
  const allBilledMs = billedMs + (restored?.billedRestoreMs ?? 0)
  answer.settle({ durationMs, billedMs: allBilledMs, initMs, maxMemoryBytes, tail: log.tail() })
  if (!session.hasExtensions || end.isOver) return
  await agent.recordForFunction(toPlatformRecord(session, report), AbortSignal.timeout(HEARD_MS)).catch(() => {})
}

const statusOf = (failure: FunctionFailure | undefined, isOver: boolean): PlatformStatus => {
  if (failure === undefined) return { status: "success" }
  const { errorType } = failure
  return { status: errorType === TIMED_OUT ? "timeout" : isOver ? "failure" : "error", errorType }
}

const failureOf = (errorType: string, requestId: string, why: string): FunctionFailure => ({
  errorType,
  body: Buffer.from(JSON.stringify({ errorType, errorMessage: `RequestId: ${requestId} Error: ${why}` })),
})

const timedOut = (requestId: string, timeoutMs: number) => {
  const words = timeoutWords(timeoutMs / 1000)
  return {
    spec: { errorType: TIMED_OUT, errorMessage: `RequestId: ${requestId} Error: ${words}` },
    failure: failureOf(TIMED_OUT, requestId, words),
  }
}

/** The agent did not even begin with the programs. */
class NotStarted extends Error {
  override readonly name = "NotStarted"
}

/** The Init that failed before, or that of programs which ended: within the event, and its time. */
const beginPrograms = async (session: Session, { agent, log }: Connection, signal: AbortSignal): Promise<void> => {
  log.say({ type: "initStart", phase: "invoke" })
  const startedAt = performance.now()
  await agent.startFunction(session.toSpec(), signal).catch((error: unknown) => {
    throw error instanceof AgentError && !signal.aborted ? new NotStarted(error.message) : error
  })
  // The event is given at once, and waits in the guest for this.
  const report = async () => {
    const { failed, hasExtensions } = await agent.untilInitialised(signal)
    session.hasExtensions = hasExtensions
    const how: PlatformStatus = failed === null ? { status: "success" } : { status: "error", errorType: failed }
    log.say({ type: "initReport", phase: "invoke", durationMs: performance.now() - startedAt, ...how })
  }
  report().catch(() => {})
}

/** Whether the programs of a guest that was taken over are there: an earlier daemon may have ended them after a failure. */
const findPrograms = async (session: Session, { agent }: Connection, signal: AbortSignal): Promise<void> => {
  try {
    const { hasExtensions } = await agent.untilInitialised(AbortSignal.any([signal, AbortSignal.timeout(ASKED_MS)]))
    session.hasExtensions = hasExtensions
    session.programs = "running"
  } catch (error) {
    if (!(error instanceof AgentError))
      throw new Error(`Its agent did not answer: ${messageOf(error)}`, { cause: error })
    session.programs = "ended"
  }
}
