import { randomUUID } from "node:crypto"
import { unlessAborted } from "../../src/abort.ts"
import type { AgentClient } from "../../src/agent/client.ts"
import { openAgentEvents } from "../../src/agent/events.ts"
import type { AgentEvent, ProcessEnd } from "../../src/agent/protocol.ts"
import { openThawPort, type ThawPort } from "../../src/agent/thaw.ts"
import type { LogStream } from "../../src/logs/entry.ts"
import type { Vm } from "../../src/vmm/vmm.ts"

/** The application's process, in every VM. */
export const MAIN_PROCESS = "main"

/** What can be asked of and heard from a guest on its serial ports. */
export interface Guest extends Pick<ThawPort, "freeze" | "thaw" | "rehearse" | "setClock"> {
  /** Resolves when the agent has started; only a cold boot has that. */
  readonly ready: Promise<void>
  /** Resolves when the application has ended by itself. */
  readonly mainExited: Promise<ProcessEnd>
  /** Resolves when what was said before a mark has been heard; asked before the guest is to set the mark, and rejects when it hasn't before `signal`. */
  untilMarked(mark: string, signal: AbortSignal): Promise<void>
  /** Resolves when everything has been heard that the application has said until now; rejects when the guest doesn't answer before `signal`. */
  hearAll(agent: Pick<AgentClient, "flushOutput">, signal: AbortSignal): Promise<void>
  close(): void
}

/** Connects to both ports of a VM; the caller closes. `onOutput` gets what the application says, in pieces. */
export const openGuest = async (
  ports: Vm["ports"],
  signal: AbortSignal,
  onOutput: (stream: LogStream, text: string) => void = () => {},
): Promise<Guest> => {
  const thawPort = await openThawPort(ports.thaw, signal)
  // The second, with nothing awaited after it: an event that is waiting there is heard, and not lost before anybody listens.
  const events = await openAgentEvents(ports.agent, signal).catch((error: unknown) => {
    thawPort.close()
    throw error
  })
  const ready = Promise.withResolvers<void>()
  const mainExited = Promise.withResolvers<ProcessEnd>()
  const marks = new Map<string, PromiseWithResolvers<void>>()
  const hear = (event: AgentEvent) => {
    switch (event.event) {
      case "hello":
        return ready.resolve()
      case "flushed":
        return marks.get(event.mark)?.resolve()
      case "exited":
        return event.process === MAIN_PROCESS ? mainExited.resolve(event) : undefined
      case "output":
        return onOutput(event.stream, event.data)
      case "dropped":
        return onOutput("notice", `[${event.characters} characters of output were lost]\n`)
    }
  }
  events.on("event", hear)
  events.once("close", (reason) => {
    if (reason !== undefined)
      onOutput("notice", `[neither output nor the application's end is heard any more: ${reason}]\n`)
  })
  const untilMarked = async (mark: string, markSignal: AbortSignal) => {
    const heard = Promise.withResolvers<void>()
    marks.set(mark, heard)
    try {
      await unlessAborted(heard.promise, markSignal)
    } finally {
      marks.delete(mark)
    }
  }
  return {
    freeze: thawPort.freeze,
    thaw: thawPort.thaw,
    rehearse: thawPort.rehearse,
    setClock: thawPort.setClock,
    ready: ready.promise,
    mainExited: mainExited.promise,
    untilMarked,
    async hearAll(agent, flushSignal) {
      const mark = randomUUID()
      await Promise.all([untilMarked(mark, flushSignal), agent.flushOutput(mark, flushSignal)])
    },
    close() {
      thawPort.close()
      events.close()
    },
  }
}
