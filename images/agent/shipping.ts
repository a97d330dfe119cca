import type { AgentEvent, OutputFrame } from "../../src/agent/protocol.ts"
import { EVENT_LINE_MAX } from "../../src/agent/version.ts"
import type { Output } from "./output.ts"
import type { Tell } from "./port.ts"

/**
 * The application's words on their way to the host's log. Pushed, and not asked for: an application that says nothing costs nothing, at
 * a launch least of all, where every connection and every question would be work of an emulated processor. What it does say waits a
 * moment, so that many words are one write, and so that the write is behind the answer which the application is working on.
 */
export interface Shipping {
  /** There is something new. */
  note(): void
  /** Resolves when what was said until now is on its way. */
  flush(): Promise<void>
}

const DELAY_MS = 250
/** So much isn't kept waiting: a burst would be lost that the host takes whole. */
const MUCH_CHARACTERS = 64 * 1024
/** Most text of this length is one event; what isn't is halved. */
const EVENT_CHARACTERS = 3500

/** Ships one process's output from its beginning. The host takes it at its own pace; what the output loses meanwhile is told as lost. */
export const createShipping = (name: string, output: Output, tell: Tell): Shipping => {
  const reader = output.read()
  let timer: NodeJS.Timeout | undefined
  let sending = Promise.resolve()
  let isSending = false
  const flush = () => {
    clearTimeout(timer)
    timer = undefined
    const until = output.said
    return (sending = sending.then(async () => {
      isSending = true
      while (reader.at < until) await tell(...toEvents(name, reader.take()))
      isSending = false
    }))
  }
  return {
    note() {
      timer ??= setTimeout(flush, DELAY_MS)
      if (!isSending && output.said - reader.at > MUCH_CHARACTERS) void flush()
    },
    flush,
  }
}

const toEvents = (process: string, frames: readonly OutputFrame[]): AgentEvent[] => {
  const events: AgentEvent[] = []
  let pending: Extract<OutputFrame, { data: string }> | undefined
  const push = () => {
    const { stream, data } = pending ?? { stream: "stdout", data: "" }
    for (let from = 0; from < data.length; from += EVENT_CHARACTERS)
      events.push(...outputEvents(process, stream, data.slice(from, from + EVENT_CHARACTERS)))
    pending = undefined
  }
  for (const frame of frames) {
    if ("data" in frame && pending?.stream === frame.stream) pending = { ...frame, data: pending.data + frame.data }
    else {
      push()
      if ("data" in frame) pending = frame
      else if ("dropped" in frame) events.push({ event: "dropped", process, characters: frame.dropped })
    }
  }
  push()
  return events
}

/** JSON makes six characters of some: two events, where one would be too long for the host. */
const outputEvents = (process: string, stream: "stdout" | "stderr", data: string): AgentEvent[] => {
  const event = { event: "output", process, stream, data } as const
  if (JSON.stringify(event).length <= EVENT_LINE_MAX) return [event]
  const half = Math.ceil(data.length / 2)
  return [data.slice(0, half), data.slice(half)].flatMap((part) => outputEvents(process, stream, part))
}
