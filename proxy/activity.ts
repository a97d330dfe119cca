/** How much a target is in use, as numbers in memory; whoever decides about idleness looks at them. No event per request. */
export interface Activity {
  /** Requests, streams and sockets that are open now. */
  open: number
  /** When the last one began or ended, in ms since the epoch. */
  lastAt: number
  /** Called when one has ended, for who waits for that. */
  onEnd?: (() => void) | undefined
}

/** Counts one request as open; the answer ends it, once. */
export const beginActivity = (activity: Activity): (() => void) => {
  activity.open++
  activity.lastAt = Date.now()
  let ended = false
  return () => {
    if (ended) return
    ended = true
    activity.open--
    activity.lastAt = Date.now()
    activity.onEnd?.()
  }
}
