import type { Image, ImageBuild, ImageVersion, Scope } from "../../../../machines/resources.ts"
import { toEpochSeconds } from "../wire.ts"
import { toConnectorArn } from "./connectors.ts"
import { toImageArn } from "./identifiers.ts"
import { toLogging } from "./settings.ts"

/** What a build says of the machine it was made for; the enums of the model know no other machines than AWS's. */
export interface BuildMachine {
  readonly architecture: string
  readonly chipset: string
  readonly chipsetGeneration: string
}

const orNull = (record: Record<string, string>) => (Object.keys(record).length === 0 ? null : record)

/** A version's recipe, as it was asked for. */
const toConfiguration = (version: ImageVersion, scope: Scope) => ({
  additionalOsCapabilities: version.settings.additionalCapabilities,
  baseImageArn: version.baseImageArn,
  baseImageVersion: version.baseImageVersion,
  buildRoleArn: version.buildRoleArn,
  codeArtifact: { uri: version.codeArtifactUri },
  cpuConfigurations: version.settings.architectures?.map((architecture) => ({ architecture })) ?? null,
  description: version.settings.description,
  egressNetworkConnectors: version.settings.egressConnectors.map((name) => toConnectorArn(name, scope.region)),
  environmentVariables: orNull(version.environment),
  hooks: null,
  logging: toLogging(version.settings.logging),
  resources: [{ minimumMemoryInMiB: version.memoryMiB }],
})

/** The answer of GetMicrovmImage. */
export const toImageBody = (image: Image, scope: Scope) => ({
  createdAt: toEpochSeconds(image.createdAt),
  imageArn: toImageArn(image.name, scope),
  latestActiveImageVersion: image.latestActiveVersion,
  latestFailedImageVersion: image.latestFailedVersion,
  name: image.name,
  state: image.state,
  tags: image.tags,
  updatedAt: toEpochSeconds(image.updatedAt),
})

/** An item of ListMicrovmImages: as GetMicrovmImage's, without tags. */
export const toImageItem = (image: Image, scope: Scope) => {
  const { tags: _tags, ...item } = toImageBody(image, scope)
  return item
}

/** The answer of CreateMicrovmImage: the image and its first version in one; tags that weren't given are `null` here alone. */
export const toCreatedImageBody = (image: Image, version: ImageVersion, scope: Scope) => ({
  ...toConfiguration(version, scope),
  ...toImageBody(image, scope),
  imageVersion: version.version,
  tags: orNull(image.tags),
})

/** The answer of UpdateMicrovmImage: as CreateMicrovmImage's, without tags. */
export const toUpdatedImageBody = (image: Image, version: ImageVersion, scope: Scope) => {
  const { tags: _tags, ...body } = toCreatedImageBody(image, version, scope)
  return body
}

/** The answer of GetMicrovmImageVersion; a version has no reason of its own, its builds have. */
export const toImageVersionBody = (image: Image, version: ImageVersion, scope: Scope) => ({
  ...toConfiguration(version, scope),
  createdAt: toEpochSeconds(version.createdAt),
  imageArn: toImageArn(version.imageName, scope),
  imageVersion: version.version,
  state: version.state,
  stateReason: null,
  status: version.status,
  tags: image.tags,
  updatedAt: toEpochSeconds(version.updatedAt),
})

/** An item of ListMicrovmImageBuilds. */
export const toBuildItem = (build: ImageBuild, machine: BuildMachine, scope: Scope) => ({
  architecture: machine.architecture,
  buildId: build.id,
  buildState: build.state,
  chipset: machine.chipset,
  chipsetGeneration: machine.chipsetGeneration,
  createdAt: toEpochSeconds(build.createdAt),
  imageArn: toImageArn(build.imageName, scope),
  imageVersion: build.version,
  stateReason: build.stateReason,
})

/** The answer of GetMicrovmImageBuild. */
export const toBuildBody = (build: ImageBuild, machine: BuildMachine, scope: Scope) => ({
  ...toBuildItem(build, machine, scope),
  snapshotBuild:
    build.sizes === null
      ? null
      : {
          codeInstallSizeInBytes: build.sizes.codeBytes,
          diskSnapshotSizeInBytes: build.sizes.diskBytes,
          memorySnapshotSizeInBytes: build.sizes.memoryBytes,
        },
})
