/** A build while it is at work: what its phases hand on. */
import { randomUUID } from "node:crypto"
import { eq } from "drizzle-orm"
import type { Archive } from "../../images/archive.ts"
import type { BuildPlan } from "../../images/dockerfile/plan.ts"
import type { Chain } from "../../images/layers.ts"
import { imageBuilds, images, imageVersions } from "../../src/db/schema.ts"
import type { Logs } from "../../src/logs/logs.ts"
import type { Artifact } from "../../src/store/artifact.ts"
import { imageArn } from "../arn.ts"
import type { SecretBox } from "../images/images.ts"
import type { Database } from "../vm-row.ts"
import { createBuildLog, type BuildLog } from "./build-log.ts"
import type { BuildLife, BuildVm } from "./build-vm.ts"
import type { KeptDrive } from "./kept-caches.ts"
import type { LayerCache, LayerLease } from "./layer-cache.ts"

export interface Build {
  readonly id: string
  readonly buildId: string
  readonly vmId: string
  readonly scope: { account: string; region: string }
  readonly imageName: string
  readonly version: typeof imageVersions.$inferSelect
  readonly memoryMiB: number
  readonly log: BuildLog
  readonly layers: LayerLease
  /** Once it is its turn: gives that back, and is aborted when the build has taken too long. */
  release?: () => void
  patience?: AbortSignal
  artifact?: Artifact
  archive?: Archive
  plan?: BuildPlan
  chains?: Chain[]
  /** How images are asked for, by the digest of what is in them. */
  readonly references: Map<string, string>
  vm?: BuildVm
  caches?: KeptDrive
  /** The root disk's files, bottom first; while the application runs the last is being written. */
  rootDisk: string[]
}

/** A version's build with nothing done yet, as its rows say; its layers are the caller's to release. */
export const beginBuild = async (
  { db, logs, layers, memoryBurstFactor }: { db: Database; logs: Logs; layers: LayerCache; memoryBurstFactor: number },
  id: string,
): Promise<Build> => {
  const [row] = await db
    .select({ version: imageVersions, image: images, build: imageBuilds })
    .from(imageVersions)
    .innerJoin(images, eq(images.id, imageVersions.imageId))
    .innerJoin(imageBuilds, eq(imageBuilds.imageVersionId, imageVersions.id))
    .where(eq(imageVersions.id, id))
  if (row === undefined) throw new Error(`There is no row for version ${id}`)
  return {
    id,
    buildId: row.build.id,
    vmId: randomUUID(),
    scope: row.image,
    imageName: row.image.name,
    version: row.version,
    memoryMiB: Math.round(row.version.memoryMiB * memoryBurstFactor),
    log: createBuildLog(logs, row.build.id),
    layers: layers.lease(),
    references: new Map(),
    rootDisk: [],
  }
}

/** Its VM. */
export const running = ({ vm }: Build): BuildLife => {
  if (vm?.life === undefined) throw new Error("The build VM does not run")
  return vm.life
}

/** What its application is started with, beside what the image says. */
export const environmentOf = ({ version, scope, imageName }: Build, secrets: SecretBox): Record<string, string> => ({
  ...(version.sealedEnvironment === null
    ? {}
    : (JSON.parse(secrets.open(version.sealedEnvironment)) as Record<string, string>)),
  AWS_REGION: scope.region,
  AWS_LAMBDA_MICROVM_IMAGE_ARN: imageArn(scope, imageName),
  AWS_LAMBDA_MICROVM_IMAGE_NAME: imageName,
  AWS_LAMBDA_MICROVM_IMAGE_VERSION: version.version,
})
