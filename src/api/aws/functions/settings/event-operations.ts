import type { EventConfig } from "../../../../../machines/functions/settings/event-configs.ts"
import { functionArn } from "../../../../../machines/functions/names.ts"
import type { Functions } from "../../../../../machines/functions/resources.ts"
import type { Scope } from "../../../../../machines/resources.ts"
import { operation, type Operation } from "../../operation.ts"
import { toPageToken } from "../../page-token.ts"
import { toEpochSeconds } from "../../wire.ts"
import { parseFunction, parseFunctionName } from "../identifiers.ts"
import { parseMarker } from "../marker.ts"
import { eventConfigInput, eventConfigsInput, qualifiedInput } from "./setting-shapes.ts"

const one = "/2019-09-25/functions/{FunctionName}/event-invoke-config"

const toDestination = (arn: string | null) => (arn === null ? {} : { Destination: arn })

const toBody = (config: EventConfig, scope: Scope) => ({
  LastModified: toEpochSeconds(config.modifiedAt),
  FunctionArn: functionArn(scope, config.functionName, config.qualifier),
  MaximumRetryAttempts: config.maximumRetries,
  MaximumEventAgeInSeconds: config.maximumAgeSeconds,
  DestinationConfig: {
    OnSuccess: toDestination(config.destinations.onSuccess),
    OnFailure: toDestination(config.destinations.onFailure),
  },
})

/** The operations on how asynchronous invocations go on: PUT replaces, POST merges. */
export const createEventOperations = ({ eventConfigs }: Functions): Operation[] => [
  ...(["PutFunctionEventInvokeConfig", "UpdateFunctionEventInvokeConfig"] as const).map((name) =>
    operation(
      name,
      { method: name.startsWith("Put") ? "PUT" : "POST", path: one, status: 200 },
      eventConfigInput,
      async (input, { caller }) => {
        const asked = parseFunction(input.FunctionName, input.Qualifier, caller)
        const { DestinationConfig: destinations } = input
        const request = {
          maximumRetries: input.MaximumRetryAttempts,
          maximumAgeSeconds: input.MaximumEventAgeInSeconds,
          destinations: destinations && {
            onSuccess: destinations.OnSuccess?.Destination,
            onFailure: destinations.OnFailure?.Destination,
          },
        }
        return toBody(await eventConfigs.put(asked, request, !name.startsWith("Put"), caller), caller)
      },
    ),
  ),

  operation(
    "GetFunctionEventInvokeConfig",
    { method: "GET", path: one, status: 200 },
    qualifiedInput,
    async (input, { caller }) =>
      toBody(await eventConfigs.get(parseFunction(input.FunctionName, input.Qualifier, caller), caller), caller),
  ),

  operation(
    "DeleteFunctionEventInvokeConfig",
    { method: "DELETE", path: one, status: 204 },
    qualifiedInput,
    async (input, { caller }) => {
      await eventConfigs.remove(parseFunction(input.FunctionName, input.Qualifier, caller), caller)
      return undefined
    },
  ),

  operation(
    "ListFunctionEventInvokeConfigs",
    { method: "GET", path: `${one}/list`, status: 200 },
    eventConfigsInput,
    async (input, call) => {
      const { caller } = call
      const name = parseFunctionName(input.FunctionName, caller)
      const list = `event configurations of ${name}`
      const { items, next } = await eventConfigs.list(name, parseMarker(input, list, call), caller)
      return {
        FunctionEventInvokeConfigs: items.map((config) => toBody(config, caller)),
        NextMarker: toPageToken(next, list, call),
      }
    },
  ),
]
