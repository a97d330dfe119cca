import { EventEmitter } from "node:events"
import { openSocket } from "../unix-socket.ts"
import { AgentEvent } from "./protocol.ts"
import { EVENT_LINE_MAX } from "./version.ts"

/** What the guest says by itself. It emits `event` per line and once `close`, with a reason when it was our decision. */
export interface AgentEvents extends EventEmitter<{ event: [AgentEvent]; close: [reason: string | undefined] }> {
  close(): void
}

/** Events in one second, but for output, after which a guest is not listened to any more: it has a few in its whole life. */
const MAX_EVENTS_PER_SECOND = 200
/** What a guest may say at once, and how much more in every second; its words wait in the guest for the rest, which loses the oldest. */
const [BURST_CHARACTERS, CHARACTERS_PER_SECOND] = [1024 * 1024, 128 * 1024]

/** Connects to a VM's agent port; the caller closes it. Lines that are too long, malformed or too many end the connection; one that says much is read slowly. */
export const openAgentEvents = async (path: string, signal: AbortSignal): Promise<AgentEvents> => {
  const socket = await openSocket(path, signal)
  const emitter = new EventEmitter() as AgentEvents
  let reason: string | undefined
  let pending = ""
  let [second, inSecond] = [0, 0]

  let [allowance, since] = [BURST_CHARACTERS, performance.now()]
  let pause: NodeJS.Timeout | undefined

  const spend = (characters: number) => {
    const now = performance.now()
    allowance = Math.min(BURST_CHARACTERS, allowance + ((now - since) / 1000) * CHARACTERS_PER_SECOND) - characters
    since = now
    if (allowance >= 0) return
    socket.pause()
    pause = setTimeout(() => socket.resume(), (-allowance / CHARACTERS_PER_SECOND) * 1000)
  }
  const refuse = (why: string) => {
    reason ??= why
    socket.destroy()
  }
  const take = (line: string) => {
    if (line.length > EVENT_LINE_MAX) return refuse("the guest sent an event that is too long")
    const parsed = AgentEvent.safeParse(parseJson(line))
    if (!parsed.success) return refuse("the guest sent a malformed event")
    if (parsed.data.event !== "output" && parsed.data.event !== "dropped") {
      const now = Math.floor(Date.now() / 1000)
      inSecond = now === second ? inSecond + 1 : 1
      second = now
      if (inSecond > MAX_EVENTS_PER_SECOND) return refuse("the guest flooded its event port")
    }
    emitter.emit("event", parsed.data)
  }
  socket.setEncoding("utf8").on("data", (text: string) => {
    const lines = (pending + text).split("\n")
    pending = lines.pop() ?? ""
    for (const line of lines) if (!socket.destroyed) take(line)
    if (pending.length > EVENT_LINE_MAX) refuse("the guest sent an event that is too long")
    spend(text.length)
  })
  socket.once("close", () => {
    clearTimeout(pause)
    emitter.emit("close", reason)
  })
  return Object.assign(emitter, { close: () => void socket.destroy() })
}

const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
