import { openAgentEvents } from "../src/agent/events.ts"
import type { AgentEvent, ProcessEnd } from "../src/agent/protocol.ts"
import { openThawPort, type ThawPort } from "../src/agent/thaw.ts"
import type { Vm } from "../src/vmm/vmm.ts"

/** The application's process, in every VM. */
export const MAIN_PROCESS = "main"

/** What can be asked of and heard from a guest on its serial ports. */
export interface Guest extends Pick<ThawPort, "freeze" | "thaw"> {
  /** Resolves when the agent has started; only a cold boot has that. */
  readonly ready: Promise<void>
  /** Resolves when the application has ended by itself. */
  readonly mainExited: Promise<ProcessEnd>
  close(): void
}

/** Connects to both ports of a VM; the caller closes. */
export const openGuest = async (ports: Vm["ports"], signal: AbortSignal): Promise<Guest> => {
  const thawPort = await openThawPort(ports.thaw, signal)
  // The second, with nothing awaited after it: an event that is waiting there is heard, and not lost before anybody listens.
  const events = await openAgentEvents(ports.agent, signal).catch((error: unknown) => {
    thawPort.close()
    throw error
  })
  const ready = Promise.withResolvers<void>()
  const mainExited = Promise.withResolvers<ProcessEnd>()
  events.on("event", (event: AgentEvent) => {
    if (event.event === "hello") ready.resolve()
    else if (event.process === MAIN_PROCESS) mainExited.resolve(event)
  })
  return {
    freeze: thawPort.freeze,
    thaw: thawPort.thaw,
    ready: ready.promise,
    mainExited: mainExited.promise,
    close() {
      thawPort.close()
      events.close()
    },
  }
}
