/** How fast one lane goes: as fast as whoever takes its events lets it, and slower after each refusal. */
import type { LaneName } from "./event.ts"

export interface Pace {
  /** After a refusal when nothing of the lane is in flight; twice as long after each further one. */
  readonly firstHoldMs: number
  readonly longestHoldMs: number
}

export interface Lane {
  readonly name: LaneName
  /** Positions of what is being tried. */
  readonly inFlight: Set<number>
  /** How many may be in flight; it need not be whole. */
  window: number
  /** What the window was after the last refusal: below it grows by one with each success, above it with each round of them. */
  ceiling: number
  refusals: number
  /** Nothing of it is tried before. Milliseconds since 1970, as the next. */
  heldUntil: number
  /** Nothing of it is due before; infinite when nothing is there. */
  quietUntil: number
  /** Grows with everything that may be due sooner than was known. */
  arrivals: number
  /** Grows with every change of its function. */
  changes: number
  isTaking: boolean
  timer: NodeJS.Timeout | undefined
}

const [FIRST_WINDOW, LARGEST_WINDOW] = [4, 1000]

export const laneKey = ({ functionId, kind, target }: LaneName): string => `${functionId} ${kind} ${target}`

/** A lane of which nothing is known but that something of it may be due. */
export const createLane = ({ functionId, kind, target }: LaneName): Lane => ({
  name: { functionId, kind, target },
  inFlight: new Set(),
  window: FIRST_WINDOW,
  ceiling: LARGEST_WINDOW,
  refusals: 0,
  heldUntil: 0,
  quietUntil: 0,
  arrivals: 0,
  changes: 0,
  isTaking: false,
  timer: undefined,
})

/** It waits no longer for refusals to pass. */
export const release = (lane: Lane): void => {
  lane.refusals = 0
  lane.heldUntil = 0
}

/** One of its events was taken, whatever came of it. */
export const widen = (lane: Lane): void => {
  release(lane)
  lane.window = Math.min(LARGEST_WINDOW, lane.window + (lane.window < lane.ceiling ? 1 : 1 / lane.window))
}

/** One was refused: as many go as still do, and when none does it is tried again after a while, not later than `until`. */
export const narrow = (lane: Lane, pace: Pace, now: number, until: number): void => {
  lane.window = Math.max(1, lane.inFlight.size)
  lane.ceiling = lane.window
  if (lane.inFlight.size > 0) return
  const holdMs = Math.min(pace.longestHoldMs, pace.firstHoldMs * 2 ** Math.min(lane.refusals, 30))
  lane.refusals++
  lane.heldUntil = Math.min(now + holdMs, until)
}
