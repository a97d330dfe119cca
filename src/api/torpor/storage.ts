import type { Context } from "hono"
import type { ImageStorage } from "../../../machines/resources.ts"
import { openSignedCall, type ServiceContext } from "../aws/json-service.ts"
import { microvmsDialect } from "../aws/microvms/service.ts"
import type { ApiEnv } from "../aws/request-body.ts"
import { toErrorAnswer } from "../aws/wire.ts"
import { refuseOthers } from "./operator.ts"

/**
 * The operator's `GET /torpor/v1/images/usage`: 200 `{items: [{kind, count, bytes, reclaimableBytes}]}`, and
 * `POST /torpor/v1/images/prune`: 200 `{items: [{kind, count, bytes}]}`, what was removed.
 */
export const createStorageRoute =
  (storage: ImageStorage, verb: "usage" | "prune", context: ServiceContext) =>
  async (c: Context<ApiEnv>, requestId: string): Promise<Response> => {
    try {
      const { caller } = await openSignedCall(c, context, ["torpor", "lambda"], requestId)
      refuseOthers(caller, verb === "usage" ? "GetStorageUsage" : "PruneStorage")
      const items = verb === "usage" ? await storage.usage() : await storage.prune(caller)
      if (verb === "prune") context.log.info({ requestId, accessKeyId: caller.accessKeyId, items }, "Pruned")
      return c.json({ items }, 200, { "x-amzn-requestid": requestId })
    } catch (error) {
      return toErrorAnswer(error, microvmsDialect, requestId, context.log)
    }
  }
