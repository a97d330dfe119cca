/** Invoking a function, as the API, function URLs and the queue of asynchronous events see it. */
import type { Readable } from "node:stream"
import type { Lineage } from "../../../src/db/function-values.ts"
import type { FunctionFailure, Settlement } from "../../environments/environments.ts"
import type { Scope } from "../../resources.ts"
import type { FunctionReference } from "../names.ts"

export interface InvokeRequest {
  /** A uuid; the same in every attempt of an asynchronous event. */
  readonly requestId: string
  readonly target: FunctionReference
  readonly scope: Scope
  readonly payload: Buffer
  readonly mode: "buffered" | "streaming"
  /** JSON. */
  readonly clientContext?: string | undefined
  readonly traceId?: string | undefined
  /** The chain of invocations that it goes on from. */
  readonly lineage?: Lineage | undefined
}

export interface Invoked {
  /** `$LATEST` or a number. */
  readonly executedVersion: string
  readonly contentType: string
  /** The runtime said that it streams. */
  readonly isStreamed: boolean
  /** The response's bytes, at the reader's pace; none when it failed without a response. Whoever does not want them destroys it. */
  readonly body: Readable
  /** Resolves when the answer is whole: `undefined`, or how it failed. Its body is read meanwhile. */
  readonly end: Promise<FunctionFailure | undefined>
  readonly settled: Promise<Settlement>
}

export interface Invoker {
  /**
   * Gives the event to an environment, an idle one or a new one; resolves when the answer begins, or has failed. Throws AWS's refusals:
   * 404, 409 while it is pending, 429 with a reason, 400 for one that is in a loop. A caller that is gone (`signal`) gives up its place while it waits; what has begun goes on.
   */
  invoke(request: InvokeRequest, signal: AbortSignal): Promise<Invoked>
  /** What a dry run tells: throws what {@link Invoker.invoke} would refuse before it begins. */
  check(target: FunctionReference, scope: Scope): Promise<void>
}
