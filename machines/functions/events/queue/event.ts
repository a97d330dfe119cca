/** What the queue holds. */
import type { DeadLetterAttributes, EventDestinations, Lineage } from "../../../../src/db/function-values.ts"
import { functionEvents } from "../../../../src/db/functions.ts"
import type { Scope } from "../../../resources.ts"

type Row = typeof functionEvents.$inferSelect

/** What is delivered apart from all else: at a pace of its own, and held back alone. */
export interface LaneName {
  /** Of an invocation the function that is called, of all else the one whose event is over. */
  readonly functionId: string
  readonly kind: Row["kind"]
  /** Of an invocation the qualifier, empty when none was said; else the destination's ARN. */
  readonly target: string
}

export interface NewEvent extends LaneName {
  readonly scope: Scope
  readonly functionName: string
  readonly requestId: string
  readonly body: Buffer
  readonly clientContext: string | null
  readonly traceId: string | null
  readonly attributes: DeadLetterAttributes | null
  readonly lineage: Lineage
}

export interface QueuedEvent extends NewEvent {
  readonly position: number
  /** Of an invocation: how often the function has failed with it. */
  readonly attempts: number
  readonly acceptedAt: Date
}

/** How a function's events are treated, as its qualifier's configuration says. */
export interface Treatment {
  readonly maximumRetries: number
  readonly maximumAgeMs: number
  readonly destinations: EventDestinations
  /** Whether an event isn't delivered that goes round. */
  readonly stopsLoops: boolean
}

/** What becomes of an event that was tried. */
export type Verdict =
  /** It goes, and these come in the same transaction. */
  | { readonly is: "over"; readonly follow: readonly NewEvent[] }
  /** The function has failed with it so often, and is given it again then. */
  | { readonly is: "later"; readonly attempts: number; readonly at: Date }
  /** Nothing was wrong with it: its whole lane waits, at most until it is too old. */
  | { readonly is: "held"; readonly until: Date }

export const DEFAULT_RETRIES = 2
/** Six hours: of an event by default, and of what is told of it always. */
export const MAX_AGE_MS = 21_600_000
