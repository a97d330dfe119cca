import { EventEmitter, once } from "node:events"
import { connect } from "node:net"
import { AgentEvent } from "./protocol.ts"
import { EVENT_LINE_MAX } from "./version.ts"

/** What the guest says by itself. It emits `event` per line and once `close`, with a reason when it was our decision. */
export interface AgentEvents extends EventEmitter<{ event: [AgentEvent]; close: [reason: string | undefined] }> {
  close(): void
}

/** Events in one second after which a guest is not listened to any more: it has a few in its whole life. */
const MAX_EVENTS_PER_SECOND = 200

/** Connects to a VM's agent port; the caller closes it. Lines that are too long, malformed or too many end the connection. */
export const openAgentEvents = async (path: string, signal: AbortSignal): Promise<AgentEvents> => {
  const socket = connect(path)
  socket.on("error", () => {})
  try {
    await once(socket, "connect", { signal })
  } catch (error) {
    socket.destroy()
    throw error
  }
  const emitter = new EventEmitter() as AgentEvents
  let reason: string | undefined
  let pending = ""
  let [second, inSecond] = [0, 0]

  const refuse = (why: string) => {
    reason ??= why
    socket.destroy()
  }
  const take = (line: string) => {
    if (line.length > EVENT_LINE_MAX) return refuse("the guest sent an event that is too long")
    const now = Math.floor(Date.now() / 1000)
    inSecond = now === second ? inSecond + 1 : 1
    second = now
    if (inSecond > MAX_EVENTS_PER_SECOND) return refuse("the guest flooded its event port")
    const parsed = AgentEvent.safeParse(parseJson(line))
    if (!parsed.success) return refuse("the guest sent a malformed event")
    emitter.emit("event", parsed.data)
  }
  socket.setEncoding("utf8").on("data", (text: string) => {
    const lines = (pending + text).split("\n")
    pending = lines.pop() ?? ""
    for (const line of lines) if (!socket.destroyed) take(line)
    if (pending.length > EVENT_LINE_MAX) refuse("the guest sent an event that is too long")
  })
  socket.once("close", () => emitter.emit("close", reason))
  return Object.assign(emitter, { close: () => void socket.destroy() })
}

const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
