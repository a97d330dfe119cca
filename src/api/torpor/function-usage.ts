import type { Context } from "hono"
import type { UsageReader } from "../../../machines/functions/usage/usage-reader.ts"
import { validationError } from "../../errors.ts"
import { checkText } from "../aws/deserialize.ts"
import { functionsDialect } from "../aws/functions/dialect.ts"
import { openSignedCall, type ServiceContext } from "../aws/json-service.ts"
import type { ApiEnv } from "../aws/request-body.ts"
import { decodePiece, queryValue } from "../aws/target.ts"
import { toErrorAnswer } from "../aws/wire.ts"

const DAY_MS = 86_400_000
/** Later ones are written in another way. */
const LAST_TIME_MS = Date.UTC(9999, 11, 31)

/**
 * `GET /torpor/v1/functions/<name>/usage?since=&after=`: 200 `{items: [{version, hour, invocations, errors, throttles, durationMs, gbSeconds}], next}`,
 * an item for each version and hour, since a time in ISO 8601; by default of the last day. `next`, where there is more, is the next page's `after`.
 */
export const createUsageRoute =
  (usage: UsageReader, context: ServiceContext) =>
  async (c: Context<ApiEnv>, requestId: string): Promise<Response> => {
    try {
      const { caller, target } = await openSignedCall(c, context, ["torpor", "lambda"], requestId)
      const text = queryValue(target, "since")
      const since = text === undefined ? Date.now() - DAY_MS : Date.parse(text)
      if (!(since >= 0 && since <= LAST_TIME_MS))
        throw validationError("since must be a time in ISO 8601, in 1970 or later.")
      const name = checkText(decodePiece(target.path.split("/")[4] ?? ""))
      const from = { since: new Date(since), after: parseAfter(queryValue(target, "after")) }
      const { items, isWhole } = await usage.read(name, from, caller)
      const last = isWhole ? undefined : items.at(-1)
      const next = last && `${last.hour.getTime()} ${last.version}`
      return c.json({ items, next }, 200, { "x-amzn-requestid": requestId })
    } catch (error) {
      return toErrorAnswer(error, functionsDialect, requestId, context.log)
    }
  }

const parseAfter = (text: string | undefined) => {
  if (text === undefined) return undefined
  const [, hour, version] = /^(\d{1,13}) (.{1,128})$/.exec(text) ?? []
  if (hour === undefined || version === undefined) throw validationError("after must be a page's next.")
  return { hour: new Date(Number(hour)), version: checkText(version) }
}
