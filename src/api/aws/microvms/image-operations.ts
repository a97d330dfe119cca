import { MANAGED_IMAGES, type Images, type RecipeRequest } from "../../../../machines/resources.ts"
import { notFound } from "../../../errors.ts"
import { operation, type Operation } from "../operation.ts"
import { parsePage, toPageToken } from "../page-token.ts"
import type { ValueOf } from "../shape.ts"
import { toEpochSeconds } from "../wire.ts"
import { parseConnectors } from "./connectors.ts"
import { parseBaseImage, parseImageIdentifier, parseUuid, toImageArn, toManagedImageArn } from "./identifiers.ts"
import {
  toBuildBody,
  toBuildItem,
  toCreatedImageBody,
  toImageBody,
  toImageItem,
  toImageVersionBody,
  toUpdatedImageBody,
  type BuildMachine,
} from "./image-bodies.ts"
import { parseCodeArtifact, parseEnvironment, parseLogging, parseMemoryMiB, refuseEnabledHooks } from "./settings.ts"
import {
  createImageInput,
  imageBuildInput,
  imageInput,
  imageVersionInput,
  listImageBuildsInput,
  listImagesInput,
  listImageVersionsInput,
  listManagedImagesInput,
  updateImageInput,
} from "./shapes.ts"

export interface ImageOperationsConfig {
  /** Bare image names and connector names are accepted beside ARNs. */
  readonly lenient: boolean
  readonly machine: BuildMachine
}

/** Debian 13's own birthday: the managed image has no other. */
const managedSince = new Date("2025-08-09T00:00:00Z")

const toRecipeRequest = (
  input: ValueOf<typeof createImageInput> | ValueOf<typeof updateImageInput>,
  region: string,
  lenient: boolean,
): RecipeRequest => {
  refuseEnabledHooks(input.hooks)
  return {
    baseImageArn: input.baseImageArn,
    baseImageVersion: parseBaseImage(input.baseImageArn, input.baseImageVersion, region).version,
    buildRoleArn: input.buildRoleArn,
    codeArtifactUri: parseCodeArtifact(input.codeArtifact),
    memoryMiB: parseMemoryMiB(input.resources),
    environment: parseEnvironment(input.environmentVariables),
    settings: {
      description: input.description ?? null,
      logging: parseLogging(input.logging),
      egressConnectors: parseConnectors(input.egressNetworkConnectors, "egress", region, lenient),
      architectures: input.cpuConfigurations?.map(({ architecture }) => architecture) ?? null,
      capabilities: input.additionalOsCapabilities?.includes("ALL") ? "all" : "default",
      additionalCapabilities: input.additionalOsCapabilities ?? null,
    },
    clientToken: input.clientToken,
  }
}

/** The operations on images. */
export const createImageOperations = (images: Images, config: ImageOperationsConfig): Operation[] => {
  const { lenient, machine } = config
  const base = "/2025-09-09/microvm-images"
  const versionPath = `${base}/{imageIdentifier}/versions/{imageVersion}`

  return [
    operation(
      "CreateMicrovmImage",
      { method: "POST", path: base, status: 201 },
      createImageInput,
      async (input, { caller }) => {
        const request = {
          ...toRecipeRequest(input, caller.region, lenient),
          name: input.name,
          tags: input.tags ?? {},
        }
        const { image, version } = await images.create(request, caller)
        return toCreatedImageBody(image, version, caller)
      },
    ),

    operation(
      "UpdateMicrovmImage",
      { method: "PUT", path: `${base}/{imageIdentifier}`, status: 200 },
      updateImageInput,
      async (input, { caller }) => {
        const name = parseImageIdentifier(input.imageIdentifier, "path", caller, lenient)
        const { image, version } = await images.update(name, toRecipeRequest(input, caller.region, lenient), caller)
        return toUpdatedImageBody(image, version, caller)
      },
    ),

    operation(
      "GetMicrovmImage",
      { method: "GET", path: `${base}/{imageIdentifier}`, status: 200 },
      imageInput,
      async (input, { caller }) => {
        const name = parseImageIdentifier(input.imageIdentifier, "path", caller, lenient)
        return toImageBody(await images.get(name, caller), caller)
      },
    ),

    operation("ListMicrovmImages", { method: "GET", path: base, status: 200 }, listImagesInput, async (input, call) => {
      const { caller } = call
      const { nameFilter = "" } = input
      const page = parsePage(input.maxResults, input.nextToken, "images", call)
      const { items, next } = await images.list(page, caller)
      return {
        // As AWS does it: a page may have none of those that it is asked for, and another behind it.
        items: items.filter(({ name }) => name.includes(nameFilter)).map((image) => toImageItem(image, caller)),
        nextToken: toPageToken(next, "images", call),
      }
    }),

    operation(
      "DeleteMicrovmImage",
      { method: "DELETE", path: `${base}/{imageIdentifier}`, status: 200 },
      imageInput,
      async (input, { caller }) => {
        const name = parseImageIdentifier(input.imageIdentifier, "path", caller, lenient)
        await images.remove(name, caller)
        return { imageIdentifier: toImageArn(name, caller), state: "DELETING" }
      },
    ),

    operation(
      "GetMicrovmImageVersion",
      { method: "GET", path: versionPath, status: 200 },
      imageVersionInput,
      async (input, { caller }) => {
        const name = parseImageIdentifier(input.imageIdentifier, "path", caller, lenient)
        const version = await images.getVersion(name, input.imageVersion, caller)
        return toImageVersionBody(await images.get(name, caller), version, caller)
      },
    ),

    operation(
      "ListMicrovmImageVersions",
      { method: "GET", path: `${base}/{imageIdentifier}/versions`, status: 200 },
      listImageVersionsInput,
      async (input, call) => {
        const { caller } = call
        const name = parseImageIdentifier(input.imageIdentifier, "path", caller, lenient)
        const list = `versions of image ${name}`
        const page = parsePage(input.maxResults, input.nextToken, list, call)
        const { items, next } = await images.listVersions(name, page, caller)
        const image = await images.get(name, caller)
        return {
          items: items.map((version) => toImageVersionBody(image, version, caller)),
          nextToken: toPageToken(next, list, call),
        }
      },
    ),

    operation(
      "DeleteMicrovmImageVersion",
      { method: "DELETE", path: versionPath, status: 200 },
      imageVersionInput,
      async (input, { caller }) => {
        const name = parseImageIdentifier(input.imageIdentifier, "path", caller, lenient)
        await images.removeVersion(name, input.imageVersion, caller)
        return { imageIdentifier: toImageArn(name, caller), imageVersion: input.imageVersion, state: "DELETING" }
      },
    ),

    operation(
      "ListMicrovmImageBuilds",
      { method: "GET", path: `${versionPath}/builds`, status: 200 },
      listImageBuildsInput,
      async (input, call) => {
        const { caller } = call
        const name = parseImageIdentifier(input.imageIdentifier, "path", caller, lenient)
        const { architecture, chipset, chipsetGeneration } = input
        const list = `builds of ${name} ${input.imageVersion}`
        const page = parsePage(input.maxResults, input.nextToken, list, call)
        const { items, next } = await images.listBuilds(name, input.imageVersion, page, caller)
        // Every build is of this host's machine: there are all of them, or none, and no page behind it.
        const isThis =
          (architecture ?? machine.architecture) === machine.architecture &&
          (chipset ?? machine.chipset) === machine.chipset &&
          (chipsetGeneration ?? machine.chipsetGeneration) === machine.chipsetGeneration
        return {
          items: isThis ? items.map((build) => toBuildItem(build, machine, caller)) : [],
          nextToken: isThis ? toPageToken(next, list, call) : null,
        }
      },
    ),

    operation(
      "GetMicrovmImageBuild",
      { method: "GET", path: `${versionPath}/builds/{buildId}`, status: 200 },
      imageBuildInput,
      async (input, { caller }) => {
        const name = parseImageIdentifier(input.imageIdentifier, "path", caller, lenient)
        const buildId = parseUuid(input.buildId)
        if (buildId === undefined) {
          throw notFound(
            `Build ${input.buildId} not found for MicroVMImage: ${toImageArn(name, caller)}, Version: ${input.imageVersion}`,
          )
        }
        return toBuildBody(await images.getBuild(name, input.imageVersion, buildId, caller), machine, caller)
      },
    ),

    operation(
      "ListManagedMicrovmImages",
      { method: "GET", path: "/2025-09-09/managed-microvm-images", status: 200 },
      listManagedImagesInput,
      async (input, call) => {
        const list = "managed images"
        const { limit, after } = parsePage(input.maxResults, input.nextToken, list, call)
        const from = Number(after ?? 0)
        const shown = MANAGED_IMAGES.slice(from, from + limit)
        const next = from + limit < MANAGED_IMAGES.length ? String(from + limit) : undefined
        return {
          items: shown.map(({ name }) => ({
            createdAt: toEpochSeconds(managedSince),
            imageArn: toManagedImageArn(name, call.caller.region),
            updatedAt: null,
          })),
          nextToken: toPageToken(next, list, call),
        }
      },
    ),
  ]
}
