/** The Init phase: extensions and runtime are started, and wait for their first event within its limit. */
import { AgentError } from "../../src/agent/agent-error.ts"
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
  const heard = live.guest.untilMarked("initialised", AbortSignal.any([alive, AbortSignal.timeout(limitMs + HEARD_MS)]))
  heard.catch(() => {})
  log.say({ type: "initStart", phase: "init" })
  const startedAt = performance.now()
  const outcome = await startPrograms(session, AbortSignal.any([alive, limit])).catch((error: unknown) => {
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
  await heard.catch(() => {})
  alive.throwIfAborted()
  session.programs = "running"
  session.hasExtensions = outcome.hasExtensions
  session.initMs = session.initialization === "on-demand" ? durationMs : undefined
  return log.say({ type: "initReport", phase: "init", durationMs, status: "success" })
}

const startPrograms = async (
  session: Session,
  signal: AbortSignal,
): Promise<{ failed: string | null; hasExtensions: boolean }> => {
  const { agent } = connectionOf(session)
  const started = agent.startFunction(session.toSpec(), signal)
  // Asked meanwhile, and waits in the guest.
  const initialised = agent.untilInitialised(signal)
  initialised.catch(() => {})
  try {
    await started
  } catch (error) {
    // What the agent refuses is what it found in /opt/extensions.
    if (error instanceof AgentError && !signal.aborted) return { failed: "Extension.LaunchError", hasExtensions: false }
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
