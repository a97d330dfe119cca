import type { Images, Microvms } from "../../../../machines/resources.ts"
import { createJsonService, type ServiceContext } from "../json-service.ts"
import type { Dialect } from "../wire.ts"
import { createImageOperations, type ImageOperationsConfig } from "./image-operations.ts"
import { laterOperations } from "./later-operations.ts"
import { createMicrovmOperations, type MicrovmOperationsConfig, type TokenMint } from "./microvm-operations.ts"

/** How the MicroVMs API writes: every member is said, and what has no value is `null`; a wrong type alone is a `Message`. */
export const microvmsDialect: Dialect = {
  absent: "null",
  messageMember: (code) => (code === "SerializationException" ? "Message" : "message"),
  internalError: "InternalServerException",
  errorMembers: (status) =>
    status === 402 ? { resourceId: null, resourceType: null, serviceCode: null, quotaCode: null } : {},
}

export interface MicrovmsParts {
  readonly microvms: Microvms
  readonly images: Images
  readonly mint: TokenMint
  readonly config: ImageOperationsConfig & MicrovmOperationsConfig
}

/** AWS Lambda MicroVMs. */
export const createMicrovmsService = (parts: MicrovmsParts, context: ServiceContext) =>
  createJsonService(
    ["lambda"],
    microvmsDialect,
    [
      ...createImageOperations(parts.images, parts.config),
      ...createMicrovmOperations(parts.microvms, parts.mint, parts.config),
      ...laterOperations,
    ],
    context,
  )
