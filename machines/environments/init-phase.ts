/** The Init phase: extensions and runtime are started, and wait for their first event within its limit. */
import { unlessAborted } from "../../src/abort.ts"
import { AgentError } from "../../src/agent/agent-error.ts"
import type { FunctionStep } from "../../src/agent/protocol.ts"
import { messageOf } from "../../src/errors.ts"
import { connectionOf, type Session } from "./session.ts"

/** Of environments that nobody waits for: this, or the function's own time where that is longer. */
const AHEAD_MS = 130_000
/** What ending programs may take, the time that AWS gives them included: emulated guests are slow. */
const END_MS = 10_000
/** For the words of the Init on their way. */
const HEARD_MS = 2000

const limitOf = ({ initialization, definition: { settings } }: Session, onDemandMs: number) =>
  initialization === "on-demand" ? onDemandMs : Math.max(AHEAD_MS, settings.timeoutSeconds * 1000)

/** Resolves when it is over, with success or without: then it is done again within the first event. Rejects when the VM fails. */
export const initialise = async (session: Session, onDemandMs: number, signal: AbortSignal): Promise<void> => {
  const { log, live, gone } = connectionOf(session)
  const limitMs = limitOf(session, onDemandMs)
  const limit = AbortSignal.timeout(limitMs)
  const alive = AbortSignal.any([signal, gone])
  const hearing = new AbortController()
  const heardBy = AbortSignal.any([alive, hearing.signal, AbortSignal.timeout(limitMs + HEARD_MS)])
  const heard = live.guest.untilMarked("initialised", heardBy)
  heard.catch(() => {})
  log.say({ type: "initStart", phase: "init" })
  let startedAt = performance.now()
  const isMounted = () => void (startedAt = performance.now())
  const outcome = await startPrograms(session, isMounted, AbortSignal.any([alive, limit])).catch((error: unknown) => {
    alive.throwIfAborted()
    if (limit.aborted) return "timeout" as const
    throw error
  })
  const durationMs = performance.now() - startedAt
  if (outcome === "timeout" || outcome.failed !== null) {
    const errorType = outcome === "timeout" ? "Sandbox.Timedout" : (outcome.failed ?? undefined)
    session.initFailure = errorType
    await endPrograms(session, outcome === "timeout" ? "TIMEOUT" : "FAILURE", signal)
    const status = outcome === "timeout" ? "timeout" : "error"
    return log.say({ type: "initReport", phase: "init", durationMs, status, errorType })
  }
  if (!outcome.hasSpoken) hearing.abort()
  await heard.catch(() => {})
  alive.throwIfAborted()
  session.programs = "running"
  session.hasExtensions = outcome.hasExtensions
  session.initMs = session.initialization === "on-demand" ? durationMs : undefined
  return log.say({ type: "initReport", phase: "init", durationMs, status: "success" })
}

/** `onMounted`: what comes before that is not of the function's Init. */
const startPrograms = async (session: Session, onMounted: () => void, signal: AbortSignal): Promise<FunctionStep> => {
  const { agent } = connectionOf(session)
  const { mounting } = session
  session.mounting = undefined
  // Sent meanwhile: the agent mounts before it hears of a function, and the last waits in the guest.
  const started = agent.startFunction(session.toSpec(), signal)
  const initialised = agent.untilInitialised(signal)
  for (const answer of [started, initialised]) answer.catch(() => {})
  if (mounting !== undefined) {
    await unlessAborted(mounting, signal).catch((error: unknown) => {
      throw signal.aborted ? error : new Error(`Its drives could not be mounted: ${messageOf(error)}`, { cause: error })
    })
    onMounted()
  }
  try {
    await started
  } catch (error) {
    // What the agent refuses is what it found in /opt/extensions.
    if (error instanceof AgentError && !signal.aborted)
      return { failed: "Extension.LaunchError", hasExtensions: false, hasSpoken: false }
    throw error
  }
  return initialised
}

/** No program of the function is left when it resolves, each having had the time that is its own; `/tmp` stays as it is. */
export const endPrograms = async (
  session: Session,
  reason: "SPINDOWN" | "TIMEOUT" | "FAILURE",
  signal: AbortSignal,
): Promise<void> => {
  const { agent, gone } = connectionOf(session)
  await agent.endFunction(reason, AbortSignal.any([signal, gone, AbortSignal.timeout(END_MS)]))
  session.programs = "ended"
}
