/** What the statechart of a VM knows of its use: numbers in memory that it looks at when it decides. No event per request. */
import { fromCallback, type EventObject } from "xstate"
import { LONGEST_TIMER_MS } from "./alarm.ts"

/** How much a VM is in use, as the edge counts it. */
export interface Activity {
  /** Requests, streams and sockets that are open now; counted before the VM's address is read, so that none is sent unseen. */
  open: number
  /** Those of them that are held until the VM is awake: each is a wish to wake it, withdrawn when its client gives up. */
  held: number
  /** Those that end only when somebody ends them: WebSockets, streams of events. Nobody waits for them. */
  endless: number
  /** When the last one began or ended, in ms since the epoch. */
  lastAt: number
  /** Called when one has ended, or turned out to be endless. */
  onLess: (() => void) | undefined
}

export const createActivity = (): Activity => ({ open: 0, held: 0, endless: 0, lastAt: 0, onLess: undefined })

/** Nothing that was sent to the VM still waits for its answer. */
export const isQuiet = ({ open, held, endless }: Activity): boolean => open === held + endless

/** Sends `{type: "IDLE"}` when nothing was open for `idleMs`; never when that is null. No timer moves with a request: the alarm looks when it fires, and arms again. */
export const createIdleAlarm = (activityOf: (id: string) => Activity) =>
  fromCallback<EventObject, { id: string; idleMs: number | null }>(({ input, sendBack }) => {
    // Not Infinity: an input is kept as JSON, which has none.
    const { id, idleMs } = input
    if (idleMs === null) return () => {}
    const since = Date.now()
    let timer: NodeJS.Timeout
    const look = () => {
      const { open, lastAt } = activityOf(id)
      const now = Date.now()
      const idleAt = open > 0 ? now + idleMs : Math.max(lastAt, since) + idleMs
      if (idleAt <= now) sendBack({ type: "IDLE" })
      else timer = setTimeout(look, Math.min(idleAt - now, LONGEST_TIMER_MS))
    }
    look()
    return () => clearTimeout(timer)
  })

/** Sends `{type: "QUIET"}` as soon as nothing that was sent to the VM still waits for its answer. */
export const createQuietWatch = (activityOf: (id: string) => Activity) =>
  fromCallback<EventObject, { id: string }>(({ input, sendBack }) => {
    const activity = activityOf(input.id)
    const look = () => {
      if (isQuiet(activity)) sendBack({ type: "QUIET" })
    }
    activity.onLess = look
    look()
    return () => {
      activity.onLess = undefined
    }
  })
