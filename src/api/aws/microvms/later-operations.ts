import { ServiceError } from "../../../errors.ts"
import type { Operation } from "../operation.ts"

const version = "/2025-09-09/microvm-images/{imageIdentifier}/versions/{imageVersion}"
const connectors = "/2026-04-04/network-connectors"
const tags = "/2017-03-31/tags/{Resource}"

/** The operations of the model that Torpor doesn't have yet. One that is built leaves this table for a list of its own. */
const later: [name: string, method: Operation["method"], path: string][] = [
  ["UpdateMicrovmImageVersion", "PATCH", version],
  ["ListManagedMicrovmImageVersions", "GET", "/2025-09-09/managed-microvm-images/{imageIdentifier}/versions"],
  ["CreateMicrovmShellAuthToken", "POST", "/2025-09-09/microvms/{microvmIdentifier}/shell-auth-token"],
  ["ListTags", "GET", tags],
  ["TagResource", "POST", tags],
  ["UntagResource", "DELETE", tags],
  ["CreateNetworkConnector", "POST", connectors],
  ["ListNetworkConnectors", "GET", connectors],
  ["GetNetworkConnector", "GET", `${connectors}/{Identifier}`],
  ["UpdateNetworkConnector", "PUT", `${connectors}/{Identifier}`],
  ["DeleteNetworkConnector", "DELETE", `${connectors}/{Identifier}`],
]

/**
 * Refusals by name. 400 rather than 501: the SDK tries every 5xx three times, and this answer won't change while it waits.
 */
export const laterOperations: Operation[] = later.map(([name, method, path]) => ({
  name,
  method,
  path,
  status: 200,
  run: async () => {
    throw new ServiceError("UnsupportedOperationException", 400, `Torpor does not support ${name} yet.`)
  },
}))
