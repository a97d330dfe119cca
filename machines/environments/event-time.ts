/** How long one event may take: until then it is the function's, and a little longer its guest's, who is to say how it ended. */

export interface EventTime extends Disposable {
  /** Aborted when the event is cut off: by its environment's end, the VM's, or a guest that doesn't say that the time is over. */
  readonly signal: AbortSignal
  isLate(): boolean
  elapsedMs(): number
  cut(why: unknown): void
}

/** How long a guest may take to tell the end of what is too late: emulated ones are slow. */
const SILENCE_MS = 10_000

/** The time begins now; `onLate` is called when it is over. Disposing aborts the signal. */
export const startEventTime = (timeoutMs: number, enders: readonly AbortSignal[], onLate: () => void): EventTime => {
  const startedAt = performance.now()
  const controller = new AbortController()
  let isLate = false
  let silence: NodeJS.Timeout | undefined
  const deadline = setTimeout(() => {
    isLate = true
    silence = setTimeout(() => controller.abort(new Error("Its guest did not answer in time.")), SILENCE_MS)
    onLate()
  }, timeoutMs)
  // Not AbortSignal.any: what ends an environment outlives all its events.
  const listeners = enders.map((ender) => {
    const listener = () => controller.abort(ender.reason)
    ender.addEventListener("abort", listener)
    if (ender.aborted) listener()
    return { ender, listener }
  })
  return {
    signal: controller.signal,
    isLate: () => isLate,
    elapsedMs: () => performance.now() - startedAt,
    cut: (why) => controller.abort(why),
    [Symbol.dispose]() {
      clearTimeout(deadline)
      clearTimeout(silence)
      for (const { ender, listener } of listeners) ender.removeEventListener("abort", listener)
      controller.abort()
    },
  }
}
