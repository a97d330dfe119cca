/** What a daemon opens behind its edge, since the way to MicroVMs that run needs no part of it: images, artifacts, functions. */
import { mkdir, rm } from "node:fs/promises"
import { join } from "node:path"
import type { Registry as Metrics } from "prom-client"
import { fetchUid, openRegistry, type OpenRegistry } from "../images/registry/open-registry.ts"
import { restoreBuilds, sweepBases } from "../machines/building/recovery.ts"
import type { Places } from "../machines/disks.ts"
import { dropStaleBases } from "../machines/environments/runtime-bases.ts"
import { openOldRows } from "../machines/old-rows.ts"
import { removeLeftBases } from "../machines/unused-bases.ts"
import type { Spares } from "../machines/vms/spares.ts"
import type { VmHost } from "../machines/vm.ts"
import type { Work } from "../machines/work.ts"
import type { FunctionUrls } from "../proxy/function-url/serve.ts"
import { createUrlSignatures } from "./api/aws/functions/url-signatures.ts"
import { createVerifier } from "./api/aws/sigv4.ts"
import type { Config } from "./config.ts"
import { openFunctionRooms, type FunctionRooms } from "./functions.ts"
import type { Ground } from "./ground.ts"
import { openImageRooms, type ImageRooms } from "./images.ts"
import type { Artifacts } from "./store/artifact.ts"
import { defaultStoreLimits, openArtifactStore, type ArtifactStore } from "./store/artifact-store.ts"
import { createBuiltInArtifacts } from "./store/built-in-artifacts.ts"

export interface RoomsOptions {
  readonly config: Config
  readonly ground: Ground
  readonly host: VmHost
  readonly places: Places
  readonly spares: Spares
  readonly work: Work
  readonly metrics: Metrics
  /** Whether what is unfinished is taken up. */
  readonly resumes: boolean
}

export interface Rooms
  extends
    AsyncDisposable,
    Pick<ImageRooms, "imageVersions" | "layers" | "snapshots">,
    Pick<FunctionRooms, "functions" | "serving"> {
  readonly store: ArtifactStore
  readonly registry: OpenRegistry
  readonly functionUrls: FunctionUrls
}

/** Opens them, after the sweep of this host; what an earlier daemon left of them is taken over when it resolves. Disposing leaves it as it is. */
export const openRooms = async (options: RoomsOptions, signal: AbortSignal): Promise<Rooms> => {
  const { config, ground, host, places, spares, work, metrics, resumes } = options
  const { data, secrets, base, db, keys } = ground
  const { createOverlay } = ground.vms
  const { hostId, log } = host
  await using opened = new AsyncDisposableStack()
  const registry = opened.use(
    await openRegistry({
      hostId,
      cacheDirectory: config.cacheDirectory,
      uid: fetchUid(config.slots.uidBase, hostId),
      registries: config.images.registries,
      maxBytes: config.images.maxMiB * 1024 ** 2,
      maxCacheBytes: config.images.maxCacheMiB * 1024 ** 2,
      timeoutMs: config.images.fetchTimeoutSeconds * 1000,
    }),
  )
  const store = await openArtifactStore(join(data.path, "store"), {
    ...defaultStoreLimits,
    maxAccountBytes: config.artifacts.maxMiBPerAccount * 1024 ** 2,
    maxAccountFiles: config.artifacts.maxFilesPerAccount,
    maxBucketsPerAccount: config.artifacts.maxBucketsPerAccount,
    uploadMs: config.artifacts.uploadHours * 3600_000,
  })
  const artifactDirectory = join(data.path, "artifacts")
  // What a killed daemon was fetching.
  await rm(artifactDirectory, { recursive: true, force: true })
  await mkdir(artifactDirectory, { recursive: true, mode: 0o700 })
  const artifactLimits = { directory: artifactDirectory, maxBytes: config.maxArtifactMiB * 1024 ** 2 }
  const openRemoteArtifacts = async (endpoint: string): Promise<Artifacts> => {
    // Most have none, and loading S3's client takes a fifth of a start.
    const { createRemoteArtifacts } = await import("./store/remote-artifacts.ts")
    return opened.use(createRemoteArtifacts({ endpoint, ...data.credentials, ...artifactLimits }))
  }
  const artifacts =
    config.s3Endpoint === undefined
      ? createBuiltInArtifacts(store, artifactLimits)
      : await openRemoteArtifacts(config.s3Endpoint)
  opened.use(openOldRows({ db, hostId, remembered: config.history, log, removeFiles: () => removeLeftBases(host) }))
  host.logs.beginRetention()

  await dropStaleBases(host, places, base.systemDisk, signal)
  await sweepBases(host)
  const common = { config, db, host, places, base, secrets, artifacts, createOverlay, work }
  const images = opened.use(openImageRooms({ ...common, registry }))
  await images.layers.trim()
  if (resumes) await restoreBuilds(host, images.imageVersions)
  const { snapshots } = images
  const { urls, ...functions } = opened.use(
    await openFunctionRooms({ ...common, store, artifactDirectory, snapshots, spares, metrics, resumes }, signal),
  )
  const held = opened.move()
  return {
    ...images,
    ...functions,
    store,
    registry,
    functionUrls: { router: urls, signatures: createUrlSignatures(createVerifier(keys)) },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}
