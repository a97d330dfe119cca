import type { LogArchive } from "../../../logs/archive.ts"
import type { LogEvent } from "../../../logs/events.ts"
import {
  behind,
  comparePositions,
  parsePosition,
  positionAt,
  toPositionText,
  type Position,
} from "../../../logs/position.ts"
import { rpcOperation } from "../json-rpc-service.ts"
import type { Operation } from "../operation.ts"
import { parseFilterPattern } from "./filter-pattern/pattern.ts"
import { findGroup, invalidParameter, noSuch } from "./group-names.ts"
import { filterEventsInput, getEventsInput } from "./shapes.ts"

/** An answer is at most so long, as AWS counts it: the text, and something for each event. */
const [MAX_BYTES, EVENT_BYTES, MAX_EVENTS] = [1024 * 1024, 26, 10_000]
/** What one call looks at when nothing matches: its answer is empty then, with a token to go on. */
const MAX_EXAMINED_BYTES = 8 * 1024 * 1024
/** AWS filters backward over what is younger than this. */
const BACKWARD_SINCE = Date.UTC(2024, 0, 1)

const bytesOf = ({ text }: LogEvent) => Buffer.byteLength(text) + EVENT_BYTES

/** What is between two times, from a token's place on in its direction. */
const rangeOf = (
  { forward, place }: { forward: boolean; place: Position | undefined },
  from: Position,
  until: Position,
) => {
  if (place === undefined) return { from, until }
  return forward
    ? { from: comparePositions(place, from) > 0 ? place : from, until }
    : { from, until: comparePositions(place, until) < 0 ? place : until }
}

/** Up to so many events, and no more than fit into an answer; the first in any case. */
const take = async (events: AsyncGenerator<LogEvent>, limit = MAX_EVENTS): Promise<LogEvent[]> => {
  const taken: LogEvent[] = []
  let bytes = 0
  for await (const event of events) {
    bytes += bytesOf(event)
    if (taken.length > 0 && bytes > MAX_BYTES) break
    if (taken.push(event) === limit) break
  }
  return taken
}

/** A direction and a place: `f/` reads on from it, `b/` back from it. */
const toEventsToken = (forward: boolean, place: Position) => `${forward ? "f" : "b"}/${toPositionText(place)}`
const parseEventsToken = (token: string): { forward: boolean; place: Position } => {
  const place = parsePosition(token.slice(2))
  if (place === undefined || !/^[fb]\//.test(token)) throw invalidParameter("The specified nextToken is invalid.")
  return { forward: token.startsWith("f"), place }
}

/** What was said. */
export const createEventOperations = (archive: LogArchive): Operation[] => {
  const refuseUnknown = async (groupId: string, names: readonly string[]) => {
    const found = await archive.streams(
      groupId,
      { names },
      { by: "name", descending: false },
      { after: undefined, limit: names.length },
    )
    if (found.length < new Set(names).size) throw noSuch("stream")
  }

  return [
    rpcOperation("GetLogEvents", getEventsInput, async (input, { caller }) => {
      const group = await findGroup(archive, input, caller)
      const names = [input.logStreamName]
      await refuseUnknown(group.id, names)
      const [begin, end] = [positionAt(input.startTime ?? 0), positionAt(input.endTime ?? Infinity)]
      const token = input.nextToken === undefined ? undefined : parseEventsToken(input.nextToken)
      const forward = token?.forward ?? input.startFromHead ?? false
      const wanted = {
        groupId: group.id,
        streams: { names },
        ...rangeOf({ forward, place: token?.place }, begin, end),
      }
      const events = forward
        ? await take(archive.forward(wanted), input.limit)
        : (await take(archive.backward(wanted), input.limit)).toReversed()
      const [first, last] = [events[0], events.at(-1)]
      // Where nothing is, both go on from where this one stood: what a client gets twice tells it that it is at the end.
      const here = token?.place ?? begin
      return {
        events: events.map(({ at, text, storedAt }) => ({ ingestionTime: storedAt, message: text, timestamp: at })),
        nextForwardToken: toEventsToken(true, last === undefined ? here : behind(last)),
        nextBackwardToken: toEventsToken(false, first ?? here),
      }
    }),

    rpcOperation("FilterLogEvents", filterEventsInput, async (input, { caller }) => {
      const { logStreamNames: names, logStreamNamePrefix: prefix } = input
      if (names !== undefined && prefix !== undefined)
        throw invalidParameter("logStreamNames and logStreamNamePrefix cannot both be given.")
      const matches = parseFilterPattern(input.filterPattern ?? "")
      const group = await findGroup(archive, input, caller)
      if (names !== undefined) await refuseUnknown(group.id, names)
      const token = input.nextToken === undefined ? undefined : parseEventsToken(input.nextToken)
      const forward = token?.forward ?? input.startFromHead ?? true
      if (!forward && (input.startTime ?? 0) < BACKWARD_SINCE)
        throw invalidParameter("startFromHead can be false only with a startTime on or after Jan 1, 2024 00:00:00 UTC.")
      // Here, unlike in GetLogEvents, what was said at the end's own millisecond is within.
      const end = input.endTime === undefined ? Infinity : input.endTime + 1
      const wanted = {
        groupId: group.id,
        streams: { names, prefix },
        ...rangeOf({ forward, place: token?.place }, positionAt(input.startTime ?? 0), positionAt(end)),
      }
      const found: LogEvent[] = []
      let [bytes, examined] = [0, 0]
      let next: string | null = null
      for await (const event of forward ? archive.forward(wanted) : archive.backward(wanted)) {
        const isFull = found.length === (input.limit ?? MAX_EVENTS) || examined > MAX_EXAMINED_BYTES
        const isMatch = !isFull && matches(event.text)
        if (isFull || (isMatch && found.length > 0 && bytes + bytesOf(event) > MAX_BYTES)) {
          next = toEventsToken(forward, forward ? event : behind(event))
          break
        }
        examined += bytesOf(event)
        if (!isMatch) continue
        bytes += bytesOf(event)
        found.push(event)
      }
      return {
        events: found.map((event) => ({
          eventId: toPositionText(event),
          ingestionTime: event.storedAt,
          logStreamName: event.stream,
          message: event.text,
          timestamp: event.at,
        })),
        nextToken: next,
        // AWS has left it empty since 2019.
        searchedLogStreams: [],
      }
    }),
  ]
}
