/** What the queue of asynchronous events counts, for Prometheus. Functions are no labels: there may be any number of them. */
import { Counter, Gauge, Histogram, type Registry } from "prom-client"
import type { LaneName } from "./queue/event.ts"
import type { Use } from "./queue/room.ts"

/** How an event, or what is told of one, has come to its end. */
export type Ending = "delivered" | "retries-exhausted" | "age-exceeded" | "loop-stopped" | "dropped"

export interface EventMetrics {
  accepted(events: number): void
  /** One of this kind is tried, so long after it was accepted. */
  tried(kind: LaneName["kind"], ageMs: number): void
  /** The function failed, and is tried again. */
  retried(): void
  /** Nothing was wrong with the event, and it waits: throttled, or nobody was there to take it. */
  held(kind: LaneName["kind"]): void
  ended(kind: LaneName["kind"], ending: Ending, events?: number): void
}

/** Registers the queue's metrics; `waiting` tells what is stored now. */
export const createEventMetrics = (registry: Registry, waiting: () => Use): EventMetrics => {
  const registers = [registry]
  const acceptances = new Counter({
    name: "torpor_events_accepted_total",
    help: "Asynchronous events that were stored.",
    registers,
  })
  const ends = new Counter({
    name: "torpor_events_ended_total",
    help: "Asynchronous events, destinations' records and dead letters that have left the queue, by how.",
    labelNames: ["kind", "ending"],
    registers,
  })
  const retries = new Counter({
    name: "torpor_events_retried_total",
    help: "Failures of functions after which their event is tried again.",
    registers,
  })
  const holds = new Counter({
    name: "torpor_events_held_total",
    help: "Tries that were refused for now, by a throttle or by nobody being there.",
    labelNames: ["kind"],
    registers,
  })
  const ages = new Histogram({
    name: "torpor_events_age_seconds",
    help: "How long after its acceptance an event, record or dead letter was tried.",
    labelNames: ["kind"],
    buckets: [0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300, 3600, 21_600],
    registers,
  })
  const gauge = (name: string, help: string, value: () => number) => {
    const registered: Gauge = new Gauge({ name, help, registers, collect: () => registered.set(value()) })
  }
  gauge("torpor_events_waiting", "What the queue holds.", () => waiting().events)
  gauge("torpor_events_waiting_bytes", "Bodies of what the queue holds.", () => waiting().bytes)

  return {
    accepted: (events) => acceptances.inc(events),
    tried: (kind, ageMs) => ages.observe({ kind }, ageMs / 1000),
    retried: () => retries.inc(),
    held: (kind) => holds.inc({ kind }),
    ended: (kind, ending, events = 1) => ends.inc({ kind, ending }, events),
  }
}
