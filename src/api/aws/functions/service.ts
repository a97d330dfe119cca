import type { AsyncIntake } from "../../../../machines/functions/events/intake.ts"
import type { Invoker } from "../../../../machines/functions/invoking/invoker.ts"
import type { Provisions } from "../../../../machines/functions/provisioned/provisions.ts"
import type { UsageReader } from "../../../../machines/functions/usage/usage-reader.ts"
import type { Functions } from "../../../../machines/functions/resources.ts"
import { createJsonService, type ServiceContext } from "../json-service.ts"
import { findOperation, type Operation } from "../operation.ts"
import { parseTarget } from "../target.ts"
import type { CodeLinks } from "./code/code-links.ts"
import { functionsDialect } from "./dialect.ts"
import { createEventOperations } from "./settings/event-operations.ts"
import { createFunctionOperations } from "./function-operations.ts"
import { createInvokeOperations } from "./invoking/invoke-operations.ts"
import { createProvisionOperations } from "./invoking/provision-operations.ts"
import { createLayerOperations } from "./layers/layer-operations.ts"
import { createPermissionOperations } from "./access/permission-operations.ts"
import { createPublishingOperations } from "./publishing/publishing-operations.ts"
import { refusedOperations } from "./refused-operations.ts"
import { createSettingOperations } from "./settings/setting-operations.ts"
import { createUrlOperations } from "./settings/url-operations.ts"

export interface FunctionsParts {
  readonly functions: Functions
  readonly links: CodeLinks
  /** Left out where nothing can be invoked. */
  readonly invoking?: {
    readonly invoker: Invoker
    readonly intake: AsyncIntake
    readonly provisions: Provisions
    readonly usage: UsageReader
  }
  /** What function URLs end with, port included. */
  readonly urlSuffix: string
  /** Runtimes of the operator's, by name. */
  readonly runtimes?: readonly string[]
}

/** All operations of the model. */
export const createOperations = ({
  functions,
  links,
  invoking,
  urlSuffix,
  runtimes = [],
}: FunctionsParts): Operation[] => [
  ...createFunctionOperations(functions, links, runtimes),
  ...(invoking === undefined
    ? []
    : [
        ...createInvokeOperations(invoking.invoker, invoking.intake),
        ...createProvisionOperations(invoking.provisions),
      ]),
  ...createPublishingOperations(functions),
  ...createPermissionOperations(functions),
  ...createEventOperations(functions),
  ...createUrlOperations(functions, urlSuffix),
  ...createSettingOperations(functions),
  ...createLayerOperations(functions, links),
  ...refusedOperations,
]

/** AWS Lambda Functions. It shares its host and its name with MicroVMs: `owns` tells which of the two a request is for. */
export const createFunctionsService = (parts: FunctionsParts, context: ServiceContext) => {
  const operations = createOperations(parts)
  return {
    owns: (method: string, rawTarget: string) => {
      const target = parseTarget(rawTarget)
      // Tags of either service are at the same place.
      if (target.path.startsWith("/2017-03-31/tags/") && /%3Amicrovm-|:microvm-|network-connector/i.test(target.path))
        return false
      return findOperation(operations, method, target) !== undefined
    },
    serve: createJsonService(["lambda"], functionsDialect, operations, context),
  }
}
