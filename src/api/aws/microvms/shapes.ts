/**
 * Every input of the MicroVMs API and what holds for its members (spec §1.1). The order of members is the order in which AWS names
 * what is wrong with them.
 */
import { boolean, integer, list, map, oneOf, optional, required, string, structure, union } from "../shape.ts"

const text = (max: number, pattern?: string) => string({ min: 1, max, ...(pattern === undefined ? {} : { pattern }) })
const unspaced = text(2048, "[^\\s]+")
const roleArn = string({ min: 20, max: 2048, pattern: "arn:aws[a-z\\-]*:iam::[0-9]{12}:role/?[a-zA-Z_0-9+=,.@\\-_/]+" })
const clientToken = text(128)
const identifier = text(256)
const hookState = oneOf("DISABLED", "ENABLED")
const architecture = oneOf("ARM_64")
const connectors = (max: number) => list(text(2048), { min: 0, max })
const runtimeTimeout = integer({ min: 1, max: 60 })
const buildTimeout = integer({ min: 1, max: 3600 })
const port = integer({ min: 1, max: 65535 })

const logging = union({
  disabled: structure({}),
  cloudWatch: structure({
    logGroup: optional(text(512, "[a-zA-Z0-9_\\-/.#]+")),
    logStream: optional(text(512, "[^:*]*")),
  }),
})

const hooks = structure({
  port: optional(port),
  microvmHooks: optional(
    structure({
      run: optional(hookState),
      runTimeoutInSeconds: optional(runtimeTimeout),
      resume: optional(hookState),
      resumeTimeoutInSeconds: optional(runtimeTimeout),
      suspend: optional(hookState),
      suspendTimeoutInSeconds: optional(runtimeTimeout),
      terminate: optional(hookState),
      terminateTimeoutInSeconds: optional(runtimeTimeout),
    }),
  ),
  microvmImageHooks: optional(
    structure({
      ready: optional(hookState),
      readyTimeoutInSeconds: optional(buildTimeout),
      validate: optional(hookState),
      validateTimeoutInSeconds: optional(buildTimeout),
    }),
  ),
})

const page = {
  maxResults: optional(integer({ min: 1, max: 50 }), "query"),
  nextToken: optional(text(2048), "query"),
} as const

const image = { imageIdentifier: required(identifier, "path") } as const
const version = { ...image, imageVersion: required(unspaced, "path") } as const
const microvm = { microvmIdentifier: required(identifier, "path") } as const
const tagText = "([\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*)"

/** What a version is built from: in AWS's order, first what must be said. */
const neededRecipe = {
  baseImageArn: required(unspaced),
  codeArtifact: required(union({ uri: unspaced })),
  buildRoleArn: required(roleArn),
} as const
const recipe = {
  baseImageVersion: optional(unspaced),
  description: optional(string({ max: 2048 })),
  logging: optional(logging),
  egressNetworkConnectors: optional(connectors(1)),
  cpuConfigurations: optional(list(structure({ architecture: required(architecture) }), { min: 0, max: 1 })),
  resources: optional(list(structure({ minimumMemoryInMiB: required(integer()) }), { min: 0, max: 1 })),
  additionalOsCapabilities: optional(list(oneOf("ALL"), { min: 0, max: 1 })),
  hooks: optional(hooks),
  environmentVariables: optional(
    map(text(256, "[^\\s]+"), string({ min: 0, max: 4096, sensitive: true }), { min: 0, max: 50 }),
  ),
} as const

export const createImageInput = structure({
  ...neededRecipe,
  name: required(text(64, "[a-zA-Z0-9-_]+")),
  ...recipe,
  tags: optional(map(text(128, tagText), string({ min: 0, max: 256, pattern: tagText }), { min: 0, max: 50 })),
  clientToken: optional(clientToken),
})
export const updateImageInput = structure({ ...image, ...neededRecipe, ...recipe, clientToken: optional(clientToken) })

export const imageInput = structure(image)
export const listImagesInput = structure({ ...page, nameFilter: optional(text(2048, ".*\\S.*"), "query") })
export const imageVersionInput = structure(version)
export const listImageVersionsInput = structure({ ...image, ...page })
export const imageBuildInput = structure({ ...version, buildId: required(unspaced, "path") })
/** AWS's machines, and what builds here are shown with. */
export const listImageBuildsInput = structure({
  ...version,
  ...page,
  architecture: optional(oneOf("ARM_64", "X86_64"), "query"),
  chipset: optional(oneOf("GRAVITON", "QEMU_MICROVM"), "query"),
  chipsetGeneration: optional(text(2048), "query"),
})
export const listManagedImagesInput = structure(page)

export const runInput = structure({
  imageIdentifier: required(identifier),
  imageVersion: optional(unspaced),
  ingressNetworkConnectors: optional(connectors(10)),
  egressNetworkConnectors: optional(connectors(10)),
  executionRoleArn: optional(roleArn),
  idlePolicy: optional(
    structure({
      maxIdleDurationSeconds: required(integer({ min: 60, max: 28_800 })),
      suspendedDurationSeconds: required(integer({ min: 0 })),
      autoResumeEnabled: required(boolean()),
    }),
  ),
  logging: optional(logging),
  runHookPayload: optional(string({ min: 0, max: 4096, sensitive: true })),
  maximumDurationInSeconds: optional(integer({ min: 1, max: 28_800 })),
  clientToken: optional(clientToken),
})

export const microvmInput = structure(microvm)
export const listMicrovmsInput = structure({
  ...page,
  imageIdentifier: optional(identifier, "query"),
  imageVersion: optional(unspaced, "query"),
})
export const authTokenInput = structure({
  ...microvm,
  expirationInMinutes: required(integer({ min: 1, max: 60 })),
  allowedPorts: required(
    list(
      union({
        port,
        range: structure({ startPort: required(port), endPort: required(port) }),
        allPorts: structure({}),
      }),
      { min: 1 },
    ),
  ),
})
