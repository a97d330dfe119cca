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

/**
 * `GET /torpor/v1/functions/<name>/usage?since=`: 200 `{items: [{version, hour, invocations, errors, throttles, durationMs, gbSeconds}]}`, an
 * item for each version and hour, since a time in ISO 8601; by default of the last day.
 */
export const createUsageRoute =
  (usage: UsageReader, context: ServiceContext) =>
  async (c: Context<ApiEnv>, requestId: string): Promise<Response> => {
    try {
      const { caller, target } = await openSignedCall(c, context, ["torpor", "lambda"], requestId)
      const text = queryValue(target, "since")
      const since = text === undefined ? Date.now() - DAY_MS : Date.parse(text)
      if (!Number.isFinite(since)) throw validationError("since must be a time in ISO 8601.")
      const name = checkText(decodePiece(target.path.split("/")[4] ?? ""))
      return c.json({ items: await usage.read(name, new Date(since), caller) }, 200, { "x-amzn-requestid": requestId })
    } catch (error) {
      return toErrorAnswer(error, functionsDialect, requestId, context.log)
    }
  }
