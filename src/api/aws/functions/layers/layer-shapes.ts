/** Inputs about layers (spec §2.1). */
import { blob, integer, list, oneOf, optional, required, string, structure } from "../../shape.ts"
import { architecture, description, page } from "../fields.ts"
import { KNOWN_RUNTIMES } from "../runtimes.ts"

const layerName = string({
  min: 1,
  max: 140,
  pattern: "(arn:[a-zA-Z0-9-]+:lambda:[a-zA-Z0-9-]+:\\d{12}:layer:[a-zA-Z0-9-_]+)|[a-zA-Z0-9-_]+",
})
const runtime = oneOf(...KNOWN_RUNTIMES)
const filter = {
  CompatibleRuntime: optional(runtime, "query"),
  CompatibleArchitecture: optional(architecture, "query"),
} as const

export const ofLayerVersion = {
  LayerName: required(layerName, "path"),
  VersionNumber: required(integer(), "path"),
} as const

export const publishLayerInput = structure({
  LayerName: required(layerName, "path"),
  Description: optional(description),
  Content: required(
    structure({
      S3Bucket: optional(string({ min: 3, max: 63, pattern: "[0-9A-Za-z.\\-_]*(?<!\\.)" })),
      S3Key: optional(string({ min: 1, max: 1024 })),
      S3ObjectVersion: optional(string({ min: 1, max: 1024 })),
      S3ObjectStorageMode: optional(oneOf("COPY", "REFERENCE")),
      ZipFile: optional(blob()),
    }),
  ),
  CompatibleRuntimes: optional(list(runtime, { min: 0, max: 15 })),
  LicenseInfo: optional(string({ min: 0, max: 512 })),
  CompatibleArchitectures: optional(list(architecture, { min: 0, max: 2 })),
})
export const layerVersionInput = structure(ofLayerVersion)
export const layerArnInput = structure({
  Arn: required(
    string({
      min: 1,
      max: 140,
      pattern:
        "(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}:\\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)",
    }),
    "query",
  ),
})
export const listLayerVersionsInput = structure({ LayerName: required(layerName, "path"), ...filter, ...page(50) })
export const listLayersInput = structure({ ...filter, ...page(50) })
