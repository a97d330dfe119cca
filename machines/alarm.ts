import { fromCallback, type EventObject } from "xstate"

const LONGEST_TIMER_MS = 2 ** 31 - 1

/**
 * Sends `event` at an absolute time (ms since the epoch), at once when it has passed. Unlike `after`, it survives a restore:
 * the stored input says when. Longer waits than `setTimeout` can count are made of several.
 */
export const alarm = fromCallback<EventObject, { at: number; event: { type: string } }>(({ input, sendBack }) => {
  let timer: NodeJS.Timeout
  const arm = () => {
    const leftMs = input.at - Date.now()
    timer = leftMs <= 0 ? setTimeout(sendBack, 0, input.event) : setTimeout(arm, Math.min(leftMs, LONGEST_TIMER_MS))
  }
  arm()
  return () => clearTimeout(timer)
})

/** How much a VM is in use, as the edge counts it: a number in memory, looked at when the alarm fires. */
export interface Activity {
  /** Requests, streams and sockets that are open now. */
  readonly open: number
  /** When the last one began or ended, in ms since the epoch. */
  readonly lastAt: number
}

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
