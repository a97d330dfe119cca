import { functionArn } from "../../../../../machines/functions/names.ts"
import type { Provision, Provisions } from "../../../../../machines/functions/provisioned/provisions.ts"
import { integer, required, string, structure } from "../../shape.ts"
import { operation, type Operation } from "../../operation.ts"
import { toPageToken } from "../../page-token.ts"
import { ofFunction, page } from "../fields.ts"
import { parseFunction, parseFunctionName } from "../identifiers.ts"
import { parseMarker } from "../marker.ts"

const path = "/2019-09-30/functions/{FunctionName}/provisioned-concurrency"

const ofProvision = {
  ...ofFunction,
  Qualifier: required(string({ min: 1, max: 128, pattern: "(|[a-zA-Z0-9$_-]+)" }), "query"),
} as const

export const provisionInput = structure(ofProvision)
export const putProvisionInput = structure({
  ...ofProvision,
  ProvisionedConcurrentExecutions: required(integer({ min: 1 })),
})
export const listProvisionsInput = structure({ ...ofFunction, ...page(50) })

/** As AWS writes this one: to the second. */
const toTime = (at: Date) => `${at.toISOString().slice(0, 19)}+0000`

const toBody = ({ requested, allocated, available, status, reason, modifiedAt }: Provision) => ({
  RequestedProvisionedConcurrentExecutions: requested,
  AvailableProvisionedConcurrentExecutions: available,
  AllocatedProvisionedConcurrentExecutions: allocated,
  Status: status,
  StatusReason: reason,
  LastModified: toTime(modifiedAt),
})

/** The operations on environments that are kept initialised. */
export const createProvisionOperations = (provisions: Provisions): Operation[] => [
  operation(
    "ListProvisionedConcurrencyConfigs",
    { method: "GET", path: `${path}?List=ALL`, status: 200 },
    listProvisionsInput,
    async (input, call) => {
      const { caller } = call
      const name = parseFunctionName(input.FunctionName, caller)
      const list = `provisions of ${name}`
      const { items, next } = await provisions.list(name, parseMarker(input, list, call), caller)
      return {
        ProvisionedConcurrencyConfigs: items.map((one) => ({
          FunctionArn: functionArn(caller, name, one.qualifier),
          ...toBody(one),
        })),
        NextMarker: toPageToken(next, list, call),
      }
    },
  ),

  operation(
    "GetProvisionedConcurrencyConfig",
    { method: "GET", path, status: 200 },
    provisionInput,
    async (input, { caller }) =>
      toBody(await provisions.get(parseFunction(input.FunctionName, input.Qualifier, caller), caller)),
  ),

  operation(
    "PutProvisionedConcurrencyConfig",
    { method: "PUT", path, status: 202 },
    putProvisionInput,
    async (input, { caller }) => {
      const asked = parseFunction(input.FunctionName, input.Qualifier, caller)
      return toBody(await provisions.put(asked, input.ProvisionedConcurrentExecutions, caller))
    },
  ),

  operation(
    "DeleteProvisionedConcurrencyConfig",
    { method: "DELETE", path, status: 204 },
    provisionInput,
    async (input, { caller }) => {
      await provisions.remove(parseFunction(input.FunctionName, input.Qualifier, caller), caller)
      return undefined
    },
  ),
]
