import { ServiceError } from "../../../src/errors.ts"
import type { Database } from "../../vm-row.ts"
import { throttled } from "../invoking/refusals.ts"
import { LATEST } from "../names.ts"
import { functionNotFound } from "../rows.ts"
import { createBatches } from "./batches.ts"
import { MAX_EVENT_BYTES, type AsyncIntake, type AsyncRequest } from "./intake.ts"
import type { EventMetrics } from "./metrics.ts"
import type { LaneName, NewEvent } from "./queue/event.ts"
import type { Room } from "./queue/room.ts"
import { insertEvents } from "./queue/rows.ts"
import { findTargets } from "./targets.ts"

interface IntakeGround {
  readonly db: Database
  readonly hostId: string
  readonly room: Room
  readonly metrics: EventMetrics
  /** Told of a lane that has events which are due. */
  arrived(lane: LaneName): void
}

/** Of one statement: a commit is shared by as many as come while the last one was written. */
const [BATCH_EVENTS, BATCH_BYTES] = [500, 4 * 1024 ** 2]
/** Of payloads in memory that are not committed yet. */
const MAX_UNCOMMITTED_BYTES = 64 * 1024 ** 2

/** What a request without a payload takes of them. */
const OVERHEAD_BYTES = 1024

/** Stores asynchronous events, those that come at once in one transaction. */
export const createIntake = ({ db, hostId, room, metrics, arrived }: IntakeGround): AsyncIntake => {
  let uncommittedBytes = 0

  const toEvent = (request: AsyncRequest, functionId: string | undefined): NewEvent | ServiceError => {
    const { target, scope, payload, requestId, clientContext = null, traceId = null, lineage = {} } = request
    // AWS names what would have run.
    if (functionId === undefined)
      return functionNotFound(scope, { name: target.name, qualifier: target.qualifier ?? LATEST })
    try {
      room.take(functionId, payload.length)
    } catch (error) {
      if (error instanceof ServiceError) return error
      throw error
    }
    return {
      functionId,
      kind: "invocation",
      target: target.qualifier ?? "",
      scope: { account: scope.account, region: scope.region },
      functionName: target.name,
      requestId,
      body: payload,
      clientContext,
      traceId,
      attributes: null,
      lineage,
    }
  }

  const batches = createBatches<AsyncRequest, NewEvent | ServiceError>({
    mostItems: BATCH_EVENTS,
    mostBytes: BATCH_BYTES,
    bytesOf: ({ payload }) => payload.length,
    async work(requests) {
      const ids = await findTargets(db, requests)
      const results = requests.map((request, index) => toEvent(request, ids[index]))
      const events = results.filter((result): result is NewEvent => !(result instanceof ServiceError))
      try {
        await insertEvents(db, hostId, events, new Date())
      } catch (error) {
        for (const event of events) {
          room.give(event, { events: 1, bytes: event.body.length })
          // Whether it was committed is not known when the connection was lost meanwhile.
          arrived(event)
        }
        throw error
      }
      metrics.accepted(events.length)
      for (const event of events) arrived(event)
      return results
    },
  })

  return {
    async accept(request) {
      const bytes = request.payload.length
      if (bytes > MAX_EVENT_BYTES)
        throw new ServiceError(
          "RequestEntityTooLargeException",
          413,
          `${bytes} byte payload is too large for the Event invocation type (limit ${MAX_EVENT_BYTES} bytes)`,
        )
      const held = bytes + OVERHEAD_BYTES
      if (uncommittedBytes + held > MAX_UNCOMMITTED_BYTES) throw throttled("CallerRateLimitExceeded")
      uncommittedBytes += held
      try {
        const result = await batches.add(request)
        if (result instanceof ServiceError) throw result
      } finally {
        uncommittedBytes -= held
      }
    },
  }
}
