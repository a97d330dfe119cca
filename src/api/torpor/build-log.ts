import type { Context } from "hono"
import type { Images } from "../../../machines/resources.ts"
import { notFound, validationError } from "../../errors.ts"
import { openSignedCall, type ServiceContext } from "../aws/json-service.ts"
import { parseUuid } from "../aws/microvms/identifiers.ts"
import { microvmsDialect } from "../aws/microvms/service.ts"
import type { ApiEnv } from "../aws/request-body.ts"
import { queryValue } from "../aws/target.ts"
import { toErrorAnswer } from "../aws/wire.ts"

const linesPerPage = 500

/**
 * `GET /torpor/v1/builds/{buildId}/log?from=`: the build's log so far, one JSON object `{line, at, text}` a line.
 * Who follows a build asks again from the line after the last one it got.
 */
export const createBuildLogRoute =
  (images: Images, context: ServiceContext) =>
  async (c: Context<ApiEnv>, requestId: string): Promise<Response> => {
    try {
      const { caller, target } = await openSignedCall(c, context, ["torpor", "lambda"], requestId)
      const given = target.path.split("/")[4] ?? ""
      const buildId = parseUuid(given)
      if (buildId === undefined) throw notFound(`Build not found: ${given.slice(0, 256)}`)
      const fromText = queryValue(target, "from") ?? "0"
      if (!/^\d{1,9}$/.test(fromText)) throw validationError("from must be the number of a line, 0 or more.")
      // The first page before the answer's head, so that a build that isn't there is a 404.
      let page = await images.buildLog(buildId, Number(fromText), linesPerPage, caller)
      const encoder = new TextEncoder()
      const body = new ReadableStream<Uint8Array>({
        pull: async (controller) => {
          for (const { line, at, text } of page) {
            controller.enqueue(encoder.encode(`${JSON.stringify({ line, at: at.toISOString(), text })}\n`))
          }
          const last = page.at(-1)
          if (last === undefined || page.length < linesPerPage) controller.close()
          else page = await images.buildLog(buildId, last.line + 1, linesPerPage, caller)
        },
      })
      return new Response(body, { headers: { "content-type": "application/x-ndjson", "x-amzn-requestid": requestId } })
    } catch (error) {
      return toErrorAnswer(error, microvmsDialect, requestId, context.log)
    }
  }
