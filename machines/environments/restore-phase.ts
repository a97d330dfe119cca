/** The Restore phase: a runtime that was launched from its version's snapshot runs its hooks, and waits for its first event. */
import { AgentError } from "../../src/agent/agent-error.ts"
import { ownVariablesOf } from "../functions/function-spec.ts"
import { endPrograms } from "./init-phase.ts"
import { connectionOf, type Session } from "./session.ts"

/** What its Init's limit is, is this one's. For its words on their way, some more. */
const HEARD_MS = 2000

/**
 * Resolves with how long it took since `beganAt`, or with the kind of failure: then no program is left, and an Init is done within the first
 * event. Rejects when the VM fails.
 */
export const restore = async (
  session: Session,
  beganAt: number,
  limitMs: number,
  signal: AbortSignal,
): Promise<{ ms: number; failed: string | undefined }> => {
  const { agent, log, live, gone } = connectionOf(session)
  const alive = AbortSignal.any([signal, gone])
  const limit = AbortSignal.timeout(limitMs)
  log.say({ type: "restoreStart" })
  const hearing = new AbortController()
  const heardBy = AbortSignal.any([alive, hearing.signal, AbortSignal.timeout(limitMs + HEARD_MS)])
  const heard = live.guest.untilMarked("restored", heardBy)
  heard.catch(() => {})
  const hooksAt = performance.now()
  const step = await agent
    .restoreFunction({ env: ownVariablesOf(session.toSpec()) }, AbortSignal.any([alive, limit]))
    .catch((error: unknown) => {
      alive.throwIfAborted()
      if (limit.aborted) return TIMED_OUT
      throw error instanceof AgentError ? new Error(`Its agent would not: ${error.message}`, { cause: error }) : error
    })
  const restoredAt = performance.now()
  const ms = restoredAt - beganAt
  if (step.failed !== null) {
    session.initFailure = step.failed
    const isLate = step === TIMED_OUT
    await endPrograms(session, isLate ? "TIMEOUT" : "FAILURE", signal)
    log.say({
      type: "restoreReport",
      durationMs: ms,
      status: isLate ? "timeout" : "error",
      errorType: step.failed,
    })
    return { ms, failed: step.failed }
  }
  if (!step.hasSpoken) hearing.abort()
  await heard.catch(() => {})
  alive.throwIfAborted()
  session.programs = "running"
  session.hasExtensions = step.hasExtensions
  session.restored = { restoreMs: ms, billedRestoreMs: Math.ceil(restoredAt - hooksAt) }
  log.say({ type: "restoreReport", durationMs: ms, status: "success" })
  return { ms, failed: undefined }
}

const TIMED_OUT = { failed: "Runtime.RestoreTimeout", hasExtensions: false, hasSpoken: false }
