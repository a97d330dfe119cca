/** Taking asynchronous events: what is accepted is stored, and is delivered at least once. */
import type { Lineage } from "../../../src/db/function-values.ts"
import type { Scope } from "../../resources.ts"
import type { FunctionReference } from "../names.ts"

export interface AsyncRequest {
  /** A uuid; the same in every attempt, and in the answer to whoever asked. */
  readonly requestId: string
  /** With the qualifier that was called, if one was. */
  readonly target: FunctionReference
  readonly scope: Scope
  /** JSON; the API has parsed it. */
  readonly payload: Buffer
  /** JSON. */
  readonly clientContext?: string | undefined
  readonly traceId?: string | undefined
  /** The chain that it goes on from. */
  readonly lineage?: Lineage | undefined
}

export interface AsyncIntake {
  /**
   * Resolves when the event is committed. Throws AWS's refusals: 413 above {@link MAX_EVENT_BYTES}, 404 without such a function, and 429 when as
   * many events, or as many bytes of them, wait as may.
   */
  accept(request: AsyncRequest): Promise<void>
}

/** Of one payload: 1 MiB. */
export const MAX_EVENT_BYTES = 1_048_576
