/**
 * Brings what is queued to whoever takes it. Nothing is asked of the database without a reason: something was stored, something has come to its
 * end, or the time has come that the last look told of.
 */
import { messageOf } from "../../../../src/errors.ts"
import { unlessAborted } from "../../../../src/abort.ts"
import type { FunctionsGround } from "../../ground.ts"
import type { EventMetrics } from "../metrics.ts"
import type { LaneName, Verdict } from "./event.ts"
import { createLane, laneKey, narrow, release, widen, type Lane, type Pace } from "./lane.ts"
import type { Room } from "./room.ts"
import { dropLane, findNext, takeEvents, type Taken } from "./rows.ts"
import { createSettlements } from "./settlements.ts"

export interface DeliveryGround extends Pick<FunctionsGround, "db" | "hostId" | "log"> {
  readonly room: Room
  readonly metrics: EventMetrics
  readonly pace: Pace
  /** Of all functions together. */
  readonly maxInFlight: number
  /** Tries to deliver one; throws when its outcome is unknown. */
  attempt(taken: Taken, signal: AbortSignal): Promise<Verdict>
}

export interface Delivery {
  /** Something of this lane may be due. */
  arrived(lane: LaneName): void
  /** Something about this function has changed: what was refused may not be any more, or it is gone. */
  changed(functionId: string): void
  /** Takes no more, waits so long for what is in flight, and leaves the rest queued. */
  close(graceMs: number): Promise<void>
}

/** Rows at once, of a lane; bodies are in memory from then on. */
const MOST_TAKEN = 16
/** Lanes at once, of which rows are read: the database has other users. */
const MOST_TAKING = 4
const LONGEST_TIMER_MS = 2 ** 31 - 1

/** Delivers until it is closed; it knows of no lane that it was not told of. */
export const createDelivery = (ground: DeliveryGround): Delivery => {
  const { db, hostId, log, room, metrics, pace, maxInFlight, attempt } = ground
  const lanes = new Map<string, Lane>()
  /** Those of which something may go, who waited longest first. */
  const ready = new Set<Lane>()
  /** Those whose function has its share in flight: they are looked at again when somebody gives way. */
  const crowded = new Set<Lane>()
  const inFlightOf = new Map<string, number>()
  const running = new Set<Promise<void>>()
  const [closing, aborting] = [new AbortController(), new AbortController()]
  let [inFlight, promised, taking] = [0, 0, 0]

  const arrived = (name: LaneName) => {
    const key = laneKey(name)
    const lane = lanes.get(key) ?? createLane(name)
    lanes.set(key, lane)
    lane.arrivals++
    lane.quietUntil = 0
    wake(lane)
  }
  const settle = createSettlements({ db, hostId, room, log, arrived }, aborting.signal)

  /** Looks at a lane again: now, when its time has come, or not before something of it arrives. */
  const wake = (lane: Lane) => {
    clearTimeout(lane.timer)
    lane.timer = undefined
    if (closing.signal.aborted || lane.isTaking) return
    const leftMs = Math.max(lane.heldUntil, lane.quietUntil) - Date.now()
    if (leftMs <= 0) {
      // Where it stands already it stays: what arrives does not put it behind the others.
      ready.add(lane)
    } else {
      ready.delete(lane)
      crowded.delete(lane)
      if (leftMs < Infinity) lane.timer = setTimeout(wake, Math.min(leftMs, LONGEST_TIMER_MS), lane)
      else if (lane.inFlight.size === 0) lanes.delete(laneKey(lane.name))
    }
    pump()
  }

  const track = (work: Promise<void>) => {
    const tracked = work.finally(() => running.delete(tracked))
    running.add(tracked)
  }

  /** A function may have as many in flight as are free after it: however many flood, there is room for another. */
  const placesFor = (lane: Lane) => {
    const own = inFlightOf.get(lane.name.functionId) ?? 0
    const free = maxInFlight - inFlight - promised
    const share = own === 0 ? Math.max(1, Math.floor(free / 2)) : Math.floor((free - own) / 2)
    return Math.min(MOST_TAKEN, share)
  }

  const pump = () => {
    while (taking < MOST_TAKING && inFlight + promised < maxInFlight) {
      const [lane] = ready
      if (lane === undefined) return
      ready.delete(lane)
      const open = Math.floor(lane.window) - lane.inFlight.size
      // Its own next end brings it back.
      if (open <= 0) continue
      const places = Math.min(open, placesFor(lane))
      if (places <= 0) crowded.add(lane)
      else track(take(lane, places))
    }
  }

  const take = async (lane: Lane, places: number) => {
    lane.isTaking = true
    taking++
    promised += places
    const { arrivals } = lane
    const nothingNew = () => lane.arrivals === arrivals
    try {
      const taken = await takeEvents(db, hostId, lane.name, new Date(), [...lane.inFlight], places)
      const isOrphan = lane.name.kind === "invocation" && taken.some(({ treatment }) => treatment === undefined)
      if (!isOrphan && !closing.signal.aborted) for (const each of taken) begin(lane, each)
      if (isOrphan || taken.length < places) {
        const next = await findNext(db, hostId, lane.name, [...lane.inFlight])
        const drops = lane.name.kind === "invocation" && next?.isOrphan === true
        if (drops) await drop(lane)
        if (nothingNew()) lane.quietUntil = (drops ? undefined : next)?.dueAt.getTime() ?? Infinity
      }
    } catch (error) {
      log.warn({ error: messageOf(error), ...lane.name }, "Events cannot be read now")
      lane.heldUntil = Date.now() + pace.firstHoldMs
    }
    promised -= places
    taking--
    lane.isTaking = false
    wake(lane)
  }

  const drop = async (lane: Lane) => {
    const gone = await dropLane(db, hostId, lane.name, [...lane.inFlight])
    room.give(lane.name, gone)
    metrics.ended("invocation", "dropped", gone.events)
    log.warn({ functionId: lane.name.functionId, events: gone.events }, "Events are dropped: their function is gone")
  }

  const begin = (lane: Lane, taken: Taken) => {
    const { functionId } = lane.name
    lane.inFlight.add(taken.event.position)
    inFlight++
    inFlightOf.set(functionId, (inFlightOf.get(functionId) ?? 0) + 1)
    metrics.tried(lane.name.kind, Date.now() - taken.event.acceptedAt.getTime())
    track(
      deliver(lane, taken).then(() => {
        inFlight--
        const left = (inFlightOf.get(functionId) ?? 1) - 1
        if (left > 0) inFlightOf.set(functionId, left)
        else inFlightOf.delete(functionId)
        for (const other of crowded) ready.add(other)
        crowded.clear()
        wake(lane)
      }),
    )
  }

  const deliver = async (lane: Lane, taken: Taken) => {
    const { event } = taken
    const { changes } = lane
    let verdict: Verdict
    try {
      verdict = await unlessAborted(attempt(taken, aborting.signal), aborting.signal)
      if (verdict.is !== "held") await settle({ event, verdict })
    } catch (error) {
      if (!aborting.signal.aborted)
        log.warn({ error: messageOf(error), requestId: event.requestId, kind: event.kind }, "An event is tried again")
      verdict = { is: "held", until: new Date(Date.now() + pace.longestHoldMs) }
    }
    lane.inFlight.delete(event.position)
    if (verdict.is === "held") {
      metrics.held(event.kind)
      narrow(lane, pace, Date.now(), verdict.until.getTime())
      // What refused it has changed meanwhile.
      if (lane.changes !== changes) release(lane)
      lane.quietUntil = 0
    } else {
      widen(lane)
      if (verdict.is === "later") lane.quietUntil = Math.min(lane.quietUntil, verdict.at.getTime())
    }
    lane.arrivals++
  }

  return {
    arrived,
    changed(functionId) {
      for (const lane of lanes.values())
        if (lane.name.functionId === functionId && lane.name.kind === "invocation") {
          lane.changes++
          release(lane)
          arrived(lane.name)
        }
    },
    async close(graceMs) {
      closing.abort()
      ready.clear()
      crowded.clear()
      for (const lane of lanes.values()) clearTimeout(lane.timer)
      const timer = setTimeout(() => aborting.abort(), graceMs)
      while (running.size > 0) await Promise.all(running)
      clearTimeout(timer)
      aborting.abort()
    },
  }
}
