import type { Context } from "hono"
import { notFound, validationError } from "../../errors.ts"
import type { LogArchive } from "../../logs/archive.ts"
import type { LogGroup, LogScope } from "../../logs/catalogue.ts"
import type { LogEvent, StreamChoice } from "../../logs/events.ts"
import { functionGroup, imageGroup } from "../../logs/names.ts"
import { behind, parsePosition, positionAt, toPositionText, type Position } from "../../logs/position.ts"
import { checkText } from "../aws/deserialize.ts"
import { openSignedCall, type ServiceContext } from "../aws/json-service.ts"
import { microvmsDialect } from "../aws/microvms/service.ts"
import type { ApiEnv } from "../aws/request-body.ts"
import { queryValue, type Target } from "../aws/target.ts"
import { toErrorAnswer } from "../aws/wire.ts"
import { jsonLinesAnswer, toJsonLines } from "./json-lines.ts"

/**
 * `GET /torpor/v1/logs?name=&stream=&since=&after=&follow=1`: what was said in a group, one JSON object `{id, at, stream, text}` a line, in
 * the order of time. `name` is a group's, an image's or a function's; `stream` one stream's, or what those begin with that are meant;
 * `since` a time in milliseconds; `after` the `id` behind which to go on. With `follow` the answer goes on until nobody listens.
 */
export const createGroupLogRoute =
  (archive: LogArchive, context: ServiceContext, closing: AbortSignal) =>
  async (c: Context<ApiEnv>, requestId: string): Promise<Response> => {
    try {
      const { caller, target } = await openSignedCall(c, context, ["torpor", "lambda"], requestId)
      const follow = queryValue(target, "follow") === "1"
      const from = parseFrom(target)
      const group = await findGroup(archive, textValue(target, "name") ?? "", caller)
      const streams = await chooseStreams(archive, group, textValue(target, "stream"))
      const wanted = { groupId: group.id, streams, from }
      return jsonLinesAnswer(c, { requestId, follow, closing }, async function* (signal) {
        const events = follow
          ? archive.follow(wanted, signal)
          : archive.forward({ ...wanted, until: positionAt(Infinity) })
        try {
          for await (const event of events) yield toJsonLines([toLine(event)])
        } catch (error) {
          if (!signal.aborted) throw error
        }
        return undefined
      })
    } catch (error) {
      return toErrorAnswer(error, microvmsDialect, requestId, context.log)
    }
  }

const textValue = (target: Target, name: string): string | undefined => {
  const text = queryValue(target, name)
  return text === undefined ? undefined : checkText(text)
}

const toLine = (event: LogEvent) => ({
  id: toPositionText(event),
  at: new Date(event.at).toISOString(),
  stream: event.stream,
  text: event.text,
})

const parseFrom = (target: Target): Position => {
  const [since = "0", after] = [queryValue(target, "since"), queryValue(target, "after")]
  if (!/^\d{1,13}$/.test(since)) throw validationError("since must be a time in milliseconds since 1970.")
  if (after === undefined) return positionAt(Number(since))
  const last = parsePosition(after)
  if (last === undefined) throw validationError("after must be the id of a line.")
  return behind(last)
}

const findGroup = async (archive: LogArchive, name: string, scope: LogScope): Promise<LogGroup> => {
  const names = [name, imageGroup(name), functionGroup(name)]
  const found = await archive.groups(scope, { names }, { after: undefined, limit: names.length })
  const first = names.flatMap((each) => found.find((group) => group.name === each) ?? [])[0]
  if (first === undefined)
    throw notFound(`No logs found: no log group, image or function '${name.slice(0, 512)}' has any.`)
  return first
}

const chooseStreams = async (
  archive: LogArchive,
  group: LogGroup,
  stream: string | undefined,
): Promise<StreamChoice> => {
  if (stream === undefined) return {}
  for (const choice of [{ names: [stream] }, { prefix: stream }]) {
    const order = { by: "name", descending: false } as const
    const found = await archive.streams(group.id, choice, order, { after: undefined, limit: 1 })
    if (found.length > 0) return choice
  }
  throw notFound(`No log stream of ${group.name} is or begins with '${stream.slice(0, 512)}'.`)
}
