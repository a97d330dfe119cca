import type { Functions } from "../../../../machines/functions/resources.ts"
import { createJsonService, type ServiceContext } from "../json-service.ts"
import { findOperation, type Operation } from "../operation.ts"
import { parseTarget } from "../target.ts"
import type { CodeLinks } from "./code-links.ts"
import { functionsDialect } from "./dialect.ts"
import { createFunctionOperations } from "./function-operations.ts"
import { createPublishingOperations } from "./publishing-operations.ts"
import { refusedOperations } from "./refused-operations.ts"

export interface FunctionsParts {
  readonly functions: Functions
  readonly links: CodeLinks
}

/** All operations of the model. */
export const createOperations = ({ functions, links }: FunctionsParts): Operation[] => [
  ...createFunctionOperations(functions, links),
  ...createPublishingOperations(functions),
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
