import type { Context } from "hono"
import type { TokenKeys } from "../../tokens/keys.ts"
import { openSignedCall, type ServiceContext } from "../aws/json-service.ts"
import { microvmsDialect } from "../aws/microvms/service.ts"
import type { ApiEnv } from "../aws/request-body.ts"
import { toErrorAnswer } from "../aws/wire.ts"
import { refuseOthers } from "./operator.ts"

/**
 * `POST /torpor/v1/keys/rotate`, the operator's: 200 `{keyId}` of the key that signs tokens from now on; those that were given out stay good.
 * 409 when it was done so often that too many old keys are still in use.
 */
export const createRotateRoute =
  (keys: Pick<TokenKeys, "rotate">, context: ServiceContext) =>
  async (c: Context<ApiEnv>, requestId: string): Promise<Response> => {
    try {
      const { caller } = await openSignedCall(c, context, ["torpor", "lambda"], requestId)
      refuseOthers(caller, "RotateSigningKeys")
      const keyId = await keys.rotate(caller)
      context.log.info({ requestId, accessKeyId: caller.accessKeyId, keyId }, "Tokens are signed with another key")
      return c.json({ keyId }, 200, { "x-amzn-requestid": requestId })
    } catch (error) {
      return toErrorAnswer(error, microvmsDialect, requestId, context.log)
    }
  }
