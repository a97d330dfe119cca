import type { AgentClient } from "../../src/agent/client.ts"
import { createLines } from "../../src/logs/lines.ts"
import { MAIN_PROCESS } from "../vms/guest.ts"
import { warmUp } from "./warm-up.ts"

export interface ReadyOptions {
  readonly agent: AgentClient
  /** Where the guest's ports are reached. */
  readonly address: string
  /** Ready is who accepts connections here. */
  readonly port: number
  readonly timeoutMs: number
  /** A line of the build's log. */
  readonly log: (line: string) => void
}

/**
 * Resolves when the application accepts connections and has taken one, or when its time is over: one that never listens is kept as it is,
 * with a warning. Its output goes to the log meanwhile. Rejects when it exits.
 */
export const untilReady = async (
  { agent, address, port, timeoutMs, log }: ReadyOptions,
  signal: AbortSignal,
): Promise<void> => {
  const over = new AbortController()
  const whole = AbortSignal.any([signal, over.signal])
  const lines = createLines((line) => log(`[app] ${line}`))
  const ended = agent.followOutput(MAIN_PROCESS, lines.add, whole).then(({ code, signal: name }) => {
    lines.end()
    throw new Error(
      `The application exited ${name === null ? `with code ${code}` : `by ${name}`} before it was ready${lines.last === "" ? "" : `: ${lines.last}`}`,
    )
  })
  const patience = AbortSignal.timeout(timeoutMs)
  const ready = agent.untilListening(port, AbortSignal.any([whole, patience])).then(
    () => {
      log(`The application accepts connections on port ${port}`)
      return warmUp(address, port, whole)
    },
    (error: unknown) => {
      if (!patience.aborted) throw error
      log(
        `WARNING: nothing accepted connections on port ${port} within ${timeoutMs / 1000} s; the image is kept as it is`,
      )
    },
  )
  try {
    await Promise.race([ready, ended])
  } finally {
    // The output is let go of.
    over.abort()
    await Promise.allSettled([ready, ended])
  }
}
