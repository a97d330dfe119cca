import { invalid } from "../../../../machines/functions/refusals.ts"
import type { Operation } from "../operation.ts"

const functions = "{FunctionName}"
const mappings = "/2015-03-31/event-source-mappings"
const durable = "/2025-12-01/durable-executions/{DurableExecutionArn}"
const callbacks = "/2025-12-01/durable-execution-callbacks/{CallbackId}"
const signing = "/2020-04-22/code-signing-configs"
const providers = "/2025-11-30/capacity-providers"
const policy = "/2026-07-09/resource-policy/{ResourceArn}"
const scaling = `/2025-11-30/functions/${functions}/function-scaling-config`
const functionSigning = `/2020-06-30/functions/${functions}/code-signing-config`

type Place = [name: string, method: Operation["method"], path: string]

/** The operations of the model that Torpor doesn't have, by what they are about. One that is built leaves this table. */
const refused: Record<string, Place[]> = {
  "Event source mappings aren't supported by Torpor yet.": [
    ["CreateEventSourceMapping", "POST", mappings],
    ["ListEventSourceMappings", "GET", mappings],
    ["GetEventSourceMapping", "GET", `${mappings}/{UUID}`],
    ["UpdateEventSourceMapping", "PUT", `${mappings}/{UUID}`],
    ["DeleteEventSourceMapping", "DELETE", `${mappings}/{UUID}`],
  ],
  "Durable functions aren't supported by Torpor yet.": [
    ["CheckpointDurableExecution", "POST", `${durable}/checkpoint`],
    ["GetDurableExecution", "GET", durable],
    ["GetDurableExecutionHistory", "GET", `${durable}/history`],
    ["GetDurableExecutionState", "GET", `${durable}/state`],
    ["StopDurableExecution", "POST", `${durable}/stop`],
    ["ListDurableExecutionsByFunction", "GET", `/2025-12-01/functions/${functions}/durable-executions`],
    ["SendDurableExecutionCallbackSuccess", "POST", `${callbacks}/succeed`],
    ["SendDurableExecutionCallbackFailure", "POST", `${callbacks}/fail`],
    ["SendDurableExecutionCallbackHeartbeat", "POST", `${callbacks}/heartbeat`],
  ],
  "CodeSigningConfigArn isn't supported by Torpor: no code signing configuration can be made.": [
    ["CreateCodeSigningConfig", "POST", signing],
    ["GetCodeSigningConfig", "GET", `${signing}/{CodeSigningConfigArn}`],
    ["UpdateCodeSigningConfig", "PUT", `${signing}/{CodeSigningConfigArn}`],
    ["DeleteCodeSigningConfig", "DELETE", `${signing}/{CodeSigningConfigArn}`],
    ["ListFunctionsByCodeSigningConfig", "GET", `${signing}/{CodeSigningConfigArn}/functions`],
    ["PutFunctionCodeSigningConfig", "PUT", functionSigning],
  ],
  "CapacityProviderConfig isn't supported for Lambda Default functions.": [
    ["CreateCapacityProvider", "POST", providers],
    ["ListCapacityProviders", "GET", providers],
    ["GetCapacityProvider", "GET", `${providers}/{CapacityProviderName}`],
    ["UpdateCapacityProvider", "PUT", `${providers}/{CapacityProviderName}`],
    ["DeleteCapacityProvider", "DELETE", `${providers}/{CapacityProviderName}`],
    ["ListFunctionVersionsByCapacityProvider", "GET", `${providers}/{CapacityProviderName}/function-versions`],
    ["PutFunctionScalingConfig", "PUT", scaling],
    ["GetFunctionScalingConfig", "GET", scaling],
  ],
  "Resource policies as one document aren't supported by Torpor; use AddPermission.": [
    ["PutResourcePolicy", "PUT", policy],
    ["GetResourcePolicy", "GET", policy],
    ["DeleteResourcePolicy", "DELETE", policy],
  ],
}

/** Refusals that name what isn't there. 400: the SDK tries every 5xx three times, and this answer won't change while it waits. */
export const refusedOperations: Operation[] = Object.entries(refused).flatMap(([why, places]) =>
  places.map(([name, method, path]) => ({
    name,
    method,
    path,
    status: 200,
    run: async () => {
      throw invalid(why)
    },
  })),
)
