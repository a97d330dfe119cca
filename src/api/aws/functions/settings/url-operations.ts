import { functionArn } from "../../../../../machines/functions/names.ts"
import type { Functions } from "../../../../../machines/functions/resources.ts"
import type { FunctionUrl } from "../../../../../machines/functions/settings/urls.ts"
import type { Scope } from "../../../../../machines/resources.ts"
import { operation, type Operation } from "../../operation.ts"
import { toPageToken } from "../../page-token.ts"
import { parseFunction, parseFunctionName } from "../identifiers.ts"
import { parseMarker } from "../marker.ts"
import { createUrlInput, urlsInput, updateUrlInput, urlInput } from "./setting-shapes.ts"

const one = "/2021-10-31/functions/{FunctionName}/url"

/** A time as Lambda writes it of URLs alone: microseconds. */
const toMicroseconds = (date: Date) => date.toISOString().replace("Z", "000Z")

/** The operations on function URLs; `suffix` is what their names end with, port included. */
export const createUrlOperations = ({ urls }: Functions, suffix: string): Operation[] => {
  const toCreated = (url: FunctionUrl, scope: Scope) => ({
    FunctionUrl: `https://${url.id}.${suffix}/`,
    FunctionArn: functionArn(scope, url.functionName, url.qualifier),
    AuthType: url.authType,
    Cors: url.cors,
    CreationTime: toMicroseconds(url.createdAt),
    InvokeMode: url.invokeMode,
  })
  const toBody = (url: FunctionUrl, scope: Scope) => ({
    ...toCreated(url, scope),
    LastModifiedTime: toMicroseconds(url.modifiedAt ?? url.createdAt),
  })

  return [
    operation(
      "CreateFunctionUrlConfig",
      { method: "POST", path: one, status: 201 },
      createUrlInput,
      async (input, { caller }) => {
        const asked = parseFunction(input.FunctionName, input.Qualifier, caller)
        const request = { authType: input.AuthType, invokeMode: input.InvokeMode, cors: input.Cors }
        return toCreated(await urls.create(asked, request, caller), caller)
      },
    ),

    operation("GetFunctionUrlConfig", { method: "GET", path: one, status: 200 }, urlInput, async (input, { caller }) =>
      toBody(await urls.get(parseFunction(input.FunctionName, input.Qualifier, caller), caller), caller),
    ),

    operation(
      "UpdateFunctionUrlConfig",
      { method: "PUT", path: one, status: 200 },
      updateUrlInput,
      async (input, { caller }) => {
        const asked = parseFunction(input.FunctionName, input.Qualifier, caller)
        const request = { authType: input.AuthType, invokeMode: input.InvokeMode, cors: input.Cors }
        return toBody(await urls.update(asked, request, caller), caller)
      },
    ),

    operation(
      "DeleteFunctionUrlConfig",
      { method: "DELETE", path: one, status: 204 },
      urlInput,
      async (input, { caller }) => {
        await urls.remove(parseFunction(input.FunctionName, input.Qualifier, caller), caller)
        return undefined
      },
    ),

    operation(
      "ListFunctionUrlConfigs",
      { method: "GET", path: `${one}s`, status: 200 },
      urlsInput,
      async (input, call) => {
        const { caller } = call
        const name = parseFunctionName(input.FunctionName, caller)
        const list = `urls of ${name}`
        const { items, next } = await urls.list(name, parseMarker(input, list, call), caller)
        return {
          FunctionUrlConfigs: items.map((url) => toBody(url, caller)),
          NextMarker: toPageToken(next, list, call),
        }
      },
    ),
  ]
}
