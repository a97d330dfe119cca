import type { Context } from "hono"
import type { Caller } from "../../../machines/resources.ts"
import { validationError } from "../../errors.ts"
import type { LogReader } from "../../logs/reader.ts"
import { openSignedCall, type ServiceContext } from "../aws/json-service.ts"
import { microvmsDialect } from "../aws/microvms/service.ts"
import type { ApiEnv } from "../aws/request-body.ts"
import { queryValue, type Target } from "../aws/target.ts"
import { toErrorAnswer } from "../aws/wire.ts"
import { jsonLinesAnswer, toJsonLines, unlessClosing } from "./json-lines.ts"

const linesPerPage = 200

export interface FoundLog {
  readonly reader: LogReader
  /** How the subject of the log has ended; `undefined` while it goes on. With a signal, waits for its end. */
  readonly end?: (wait: AbortSignal | undefined) => Promise<object | undefined>
}

/** Finds the log of a resource by the identifier in its path; throws when the caller has no such thing. */
export type FindLog = (identifier: string, caller: Caller) => Promise<FoundLog>

/**
 * `GET /torpor/v1/<kind>/<identifier>/logs?from=&limit=&follow=1`: the log's lines, one JSON object `{line, at, stream, text}` each.
 * Behind the last line of a build that has ended is how: `{state, reason}`.
 * `from` is the number of a line, 0 or more; with `follow` the answer goes on until nothing more is said, nobody listens, or `closing`:
 * a service that stops doesn't wait for those who only listen.
 */
export const createLogRoute =
  (find: FindLog, context: ServiceContext, closing: AbortSignal) =>
  async (c: Context<ApiEnv>, requestId: string): Promise<Response> => {
    try {
      const { caller, target } = await openSignedCall(c, context, ["torpor", "lambda"], requestId)
      const [from, limit] = [numberOf(target, "from") ?? 0, numberOf(target, "limit") ?? Infinity]
      const follow = queryValue(target, "follow") === "1"
      const found = await find(target.path.split("/")[4] ?? "", caller)
      return jsonLinesAnswer(c, { requestId, follow, closing }, (signal) =>
        linesOf(found, { from, limit, follow }, signal),
      )
    } catch (error) {
      return toErrorAnswer(error, microvmsDialect, requestId, context.log)
    }
  }

const numberOf = (target: Target, name: string): number | undefined => {
  const text = queryValue(target, name)
  if (text === undefined || /^\d{1,9}$/.test(text)) return text === undefined ? undefined : Number(text)
  throw validationError(`${name} must be a number of lines, 0 or more.`)
}

async function* linesOf(
  { reader, end }: FoundLog,
  { from, limit, follow }: { from: number; limit: number; follow: boolean },
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, undefined> {
  let [at, left] = [from, limit]
  while (left > 0) {
    const wanted = Math.min(linesPerPage, left)
    const { entries, next } = await reader.read(at, wanted)
    if (entries.length > 0) yield toJsonLines(entries)
    left -= entries.length
    at = next
    if (entries.length === wanted || (follow && (await more(reader, at, signal)))) continue
    const ended = await unlessClosing(
      end?.(follow ? signal : undefined) ?? Promise.resolve(undefined),
      undefined,
      signal,
    )
    if (ended !== undefined) yield toJsonLines([ended])
    return
  }
}

const more = (reader: LogReader, from: number, signal: AbortSignal): Promise<boolean> =>
  unlessClosing(reader.more(from, signal), false, signal)
