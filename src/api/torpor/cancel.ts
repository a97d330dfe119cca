import type { Context } from "hono"
import type { Images } from "../../../machines/resources.ts"
import { notFound } from "../../errors.ts"
import { openSignedCall, type ServiceContext } from "../aws/json-service.ts"
import { parseUuid } from "../aws/microvms/identifiers.ts"
import { microvmsDialect } from "../aws/microvms/service.ts"
import type { ApiEnv } from "../aws/request-body.ts"
import { toErrorAnswer } from "../aws/wire.ts"

/**
 * `POST /torpor/v1/builds/<id>/cancel`: 202 when the build is given up; its log and its version's state tell when that has come true.
 * 409 when there is nothing to give up any more.
 */
export const createCancelRoute =
  (images: Pick<Images, "cancelBuild">, context: ServiceContext) =>
  async (c: Context<ApiEnv>, requestId: string): Promise<Response> => {
    try {
      const { caller, target } = await openSignedCall(c, context, ["torpor", "lambda"], requestId)
      const identifier = target.path.split("/")[4] ?? ""
      const id = parseUuid(identifier)
      if (id === undefined) throw notFound(`Build not found: ${identifier.slice(0, 256)}`)
      await images.cancelBuild(id, caller)
      return c.json({}, 202, { "x-amzn-requestid": requestId })
    } catch (error) {
      return toErrorAnswer(error, microvmsDialect, requestId, context.log)
    }
  }
