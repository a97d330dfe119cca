import { fromCallback, type EventObject } from "xstate"

/** More than this and `setTimeout` fires at once. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1

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
