import { createLogCatalogue, type LogCatalogue } from "./catalogue.ts"
import { eventsBackward, eventsForward, type EventsWanted, type LogEvent } from "./events.ts"
import { followEvents, type Subscribe } from "./follow.ts"
import type { LogDatabase } from "./logs.ts"

/** Everything that is kept, to be looked for and read by group and stream. */
export interface LogArchive extends LogCatalogue {
  /** How long anything is kept at most. */
  readonly days: number
  /** The oldest first. */
  forward(wanted: EventsWanted): AsyncGenerator<LogEvent>
  /** The newest first. */
  backward(wanted: EventsWanted): AsyncGenerator<LogEvent>
  /** The oldest first, and then what comes, until `signal`: rejects with its reason. */
  follow(wanted: Omit<EventsWanted, "until">, signal: AbortSignal): AsyncGenerator<LogEvent>
}

/** Reads the store of all logs; `subscribe` tells what is written on this host. */
export const createLogArchive = (db: LogDatabase, days: number, subscribe: Subscribe): LogArchive => ({
  ...createLogCatalogue(db),
  days,
  forward: (wanted) => eventsForward(db, wanted),
  backward: (wanted) => eventsBackward(db, wanted),
  follow: (wanted, signal) => followEvents(db, wanted, subscribe, signal),
})
