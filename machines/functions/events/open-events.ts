/** Asynchronous invocation: a queue in Postgres between whoever calls and the invoker, and between results and who is told of them. */
import type { Registry } from "prom-client"
import type { FunctionsGround } from "../ground.ts"
import type { Invoker } from "../invoking/invoker.ts"
import { createSenders, type DestinationSettings } from "./destinations/destinations.ts"
import { createIntake } from "./event-intake.ts"
import type { AsyncIntake } from "./intake.ts"
import { createInvocations } from "./invocation.ts"
import { createEventMetrics } from "./metrics.ts"
import { createDelivery } from "./queue/delivery.ts"
import type { LaneName } from "./queue/event.ts"
import type { Pace } from "./queue/lane.ts"
import { createRoom, type EventLimits } from "./queue/room.ts"
import { sumLanes, type Taken } from "./queue/rows.ts"
import { createVacuum } from "./queue/vacuum.ts"
import { createTelling } from "./telling.ts"

export interface EventPace extends Pace {
  /** After the function's first failure with an event, after its second. */
  readonly retryMs: readonly number[]
}

export interface EventsOptions extends Pick<FunctionsGround, "db" | "hostId" | "changes" | "log"> {
  readonly invoker: Invoker
  readonly destinations: DestinationSettings
  readonly limits: EventLimits
  /** Events, records and dead letters of all functions together that are being delivered. */
  readonly maxInFlight: number
  readonly metrics: Registry
  /** Whether what waits is delivered. */
  readonly resumes: boolean
  /** AWS's unless a test is in more of a hurry. */
  readonly pace?: EventPace
}

export interface OpenEvents {
  readonly intake: AsyncIntake
  /** Takes no more from the queue, waits so long for what is in flight, and leaves the rest to the next start. */
  close(graceMs: number): Promise<void>
}

const AWS_PACE: EventPace = { retryMs: [60_000, 120_000], firstHoldMs: 1000, longestHoldMs: 300_000 }

/** Opens this host's queue, and begins to deliver what is in it if it `resumes`. */
export const openEvents = async (options: EventsOptions): Promise<OpenEvents> => {
  const { db, hostId, log, invoker, destinations, limits, maxInFlight, pace = AWS_PACE } = options
  const room = createRoom(limits, createVacuum(db, log))
  const metrics = createEventMetrics(options.metrics, () => room.total)
  const shared = { db, hostId, room, metrics, log }
  const arrived = (lane: LaneName) => delivery.arrived(lane)
  const intake = createIntake({ ...shared, arrived })
  const invoke = createInvocations({ ...shared, invoker, retryMs: pace.retryMs })
  const tell = createTelling({ senderOf: createSenders(destinations, intake), metrics, log })
  const delivery = createDelivery({
    ...shared,
    pace,
    maxInFlight,
    attempt: ({ event, treatment }: Taken, signal) =>
      event.kind === "invocation" && treatment !== undefined ? invoke(event, treatment, signal) : tell(event, signal),
  })
  for (const { events, bytes, ...lane } of await sumLanes(db, hostId)) {
    room.add(lane, { events, bytes })
    if (options.resumes) delivery.arrived(lane)
  }
  const stopListening = options.changes.listen((functionId) => delivery.changed(functionId))
  return {
    intake,
    close(graceMs) {
      stopListening()
      return delivery.close(graceMs)
    },
  }
}
