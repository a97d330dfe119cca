/** How much a target is in use, as numbers in memory; whoever decides about idleness looks at them. No event per request. */
export interface Activity {
  /** Requests, streams and sockets that are open now. */
  open: number
  /** Of them: WebSockets and streams of events. They are use as long as they are open, and end only when somebody ends them. */
  endless: number
  /** When the last one began or ended, in ms since the epoch. */
  lastAt: number
  /** Called when one has ended, or turned out to be endless, for who waits for that. */
  onLess?: (() => void) | undefined
}

export interface OpenActivity {
  /** It goes on until its client or its VM ends it. */
  isEndless(): void
  end(): void
}

/** Counts one request as open until it is ended. */
export const beginActivity = (activity: Activity): OpenActivity => {
  activity.open++
  activity.lastAt = Date.now()
  let [ended, endless] = [false, false]
  return {
    isEndless() {
      if (ended || endless) return
      endless = true
      activity.endless++
      activity.onLess?.()
    },
    end() {
      if (ended) return
      ended = true
      if (endless) activity.endless--
      activity.open--
      activity.lastAt = Date.now()
      activity.onLess?.()
    },
  }
}
