/**
 * What the API asks of the machines, in our words: the API translates, these decide.
 * Wishes are answered when they are stored, not when they have come true. Refusals are {@link ServiceError}s in AWS's words.
 */
import type {
  IdlePolicy,
  ImageSettings,
  ImageState,
  LoggingTarget,
  MicrovmState,
  VersionState,
} from "../src/db/values.ts"
import type { LogReader } from "../src/logs/reader.ts"

/** Whose resources: everything is looked up inside one. */
export interface Scope {
  readonly account: string
  readonly region: string
}

/** Who asks, for the audit log. */
export interface Caller extends Scope {
  readonly accessKeyId: string
  readonly requestId: string
}

export interface Page<Item> {
  readonly items: Item[]
  /** Opaque to the API; where the next page begins. */
  readonly next: string | undefined
}

export interface PageRequest {
  /** 1–50. */
  readonly limit: number
  readonly after: string | undefined
}

export interface RunRequest {
  /** The image's name; the API has parsed it from the ARN. */
  readonly imageName: string
  /** `undefined`: the latest active one. */
  readonly imageVersion: string | undefined
  readonly idlePolicy: IdlePolicy | null
  readonly maximumDurationSeconds: number
  readonly executionRoleArn: string | null
  readonly ingressConnectors: string[]
  readonly egressConnectors: string[]
  readonly logging: LoggingTarget | null
  readonly clientToken: string | undefined
}

export interface Microvm {
  /** A bare uuid; `microvm-<uuid>` on the wire. */
  readonly id: string
  readonly endpointId: string
  readonly state: MicrovmState
  readonly stateReason: string | null
  readonly imageName: string
  readonly imageVersion: string
  readonly idlePolicy: IdlePolicy | null
  readonly maximumDurationSeconds: number
  readonly executionRoleArn: string | null
  readonly ingressConnectors: string[]
  readonly egressConnectors: string[]
  readonly startedAt: Date
  readonly terminatedAt: Date | null
}

/** What lets somebody in who has it. */
export interface Access {
  readonly kind: "token" | "link"
  /** Both ends included. */
  readonly ports: readonly { readonly from: number; readonly to: number }[]
  readonly expirationSeconds: number
}

export interface Microvms {
  run(request: RunRequest, caller: Caller): Promise<Microvm>
  get(id: string, scope: Scope): Promise<Microvm>
  /** Newest first, the terminated ones of the last day included. */
  list(
    filter: { imageName?: string | undefined; imageVersion?: string | undefined },
    page: PageRequest,
    scope: Scope,
  ): Promise<Page<Microvm>>
  /** Notes who lets somebody in, and to what. Throws AWS's refusal when it is over. */
  letIn(id: string, access: Access, caller: Caller): Promise<Microvm>
  /** What its application said, in every life of it; empty when no logs are kept of it. */
  log(id: string, scope: Scope): Promise<LogReader>
  suspend(id: string, caller: Caller): Promise<void>
  resume(id: string, caller: Caller): Promise<void>
  terminate(id: string, caller: Caller): Promise<void>
}

/** What a version is built from. */
export interface RecipeRequest {
  readonly baseImageArn: string
  /** `undefined`: the managed image's newest. */
  readonly baseImageVersion: string | undefined
  readonly buildRoleArn: string
  readonly codeArtifactUri: string
  readonly memoryMiB: number
  readonly environment: Record<string, string>
  readonly settings: ImageSettings
  readonly clientToken: string | undefined
}

export interface ImageRequest extends RecipeRequest {
  readonly name: string
  readonly tags: Record<string, string>
}

export interface Image {
  readonly name: string
  readonly state: ImageState
  readonly latestActiveVersion: string | null
  readonly latestFailedVersion: string | null
  readonly tags: Record<string, string>
  readonly createdAt: Date
  readonly updatedAt: Date | null
}

export interface ImageVersion {
  readonly imageName: string
  readonly version: string
  readonly state: VersionState
  readonly status: "ACTIVE" | "INACTIVE"
  readonly baseImageArn: string
  readonly baseImageVersion: string
  readonly buildRoleArn: string
  readonly codeArtifactUri: string
  readonly memoryMiB: number
  readonly environment: Record<string, string>
  readonly settings: ImageSettings
  readonly createdAt: Date
  readonly updatedAt: Date | null
}

export interface ImageBuild {
  readonly id: string
  readonly imageName: string
  readonly version: string
  readonly state: "PENDING" | "IN_PROGRESS" | "SUCCESSFUL" | "FAILED"
  readonly stateReason: string | null
  readonly createdAt: Date
  readonly sizes: { memoryBytes: number; codeBytes: number; diskBytes: number } | null
}

export interface BuildEnd {
  readonly state: "SUCCESSFUL" | "FAILED"
  readonly reason: string | null
}

export interface Images {
  create(request: ImageRequest, caller: Caller): Promise<{ image: Image; version: ImageVersion }>
  /** The next version of an image that is there; the one before stays the active one until this is built. */
  update(name: string, request: RecipeRequest, caller: Caller): Promise<{ image: Image; version: ImageVersion }>
  get(name: string, scope: Scope): Promise<Image>
  /** By name. */
  list(page: PageRequest, scope: Scope): Promise<Page<Image>>
  /** With all its versions; refused while a build is at work or a MicroVM of it has not ended. Nothing is left but logs. */
  remove(name: string, caller: Caller): Promise<void>
  getVersion(name: string, version: string, scope: Scope): Promise<ImageVersion>
  /** Newest first. */
  listVersions(name: string, page: PageRequest, scope: Scope): Promise<Page<ImageVersion>>
  /** One that is not its image's only one; nothing is left but its log, and what its MicroVMs stand on until they end. */
  removeVersion(name: string, version: string, caller: Caller): Promise<void>
  /** Newest first. */
  listBuilds(name: string, version: string, page: PageRequest, scope: Scope): Promise<Page<ImageBuild>>
  getBuild(name: string, version: string, buildId: string, scope: Scope): Promise<ImageBuild>
  /** Gives a build up that has not come to its end; resolves when that is on its way. */
  cancelBuild(buildId: string, caller: Caller): Promise<void>
  /** What the build said; empty when its image keeps no logs. */
  buildLog(buildId: string, scope: Scope): Promise<LogReader>
  /** How the build has ended; `undefined` while it goes on. With a signal, waits for its end. */
  buildEnd(buildId: string, wait: AbortSignal | undefined, scope: Scope): Promise<BuildEnd | undefined>
}

/** What one kind of things takes on this host's disk. */
export interface StorageUse {
  /**
   * `artifacts`: what callers have in the built-in store. `function-code`: zips of functions and layers. `bases`: the memory and own disks of images. `layers`: what build steps made. `caches`: what `RUN --mount=type=cache` keeps.
   * `registry`: what was fetched of base images. `boots`: booted guests that builds are launched from. `runtimes`: the memory of
   * functions' runtimes. `function-disks`: functions' code and layers. `function-snapshots`: the memory of functions' versions.
   */
  readonly kind:
    | "artifacts"
    | "function-code"
    | "bases"
    | "layers"
    | "caches"
    | "registry"
    | "boots"
    | "runtimes"
    | "function-disks"
    | "function-snapshots"
  readonly count: number
  readonly bytes: number
  /** What of it nothing that is there needs. */
  readonly reclaimableBytes: number
}

/** What of one kind was removed. */
export type StorageRemoved = Pick<StorageUse, "kind" | "count" | "bytes">

/** The disk that images, builds and functions take on this host, whoever's they are. */
export interface ImageStorage {
  usage(): Promise<StorageUse[]>
  /** Removes what nothing needs that is there: the next builds do it again. Answers what went. */
  prune(caller: Caller): Promise<StorageRemoved[]>
}

/** The managed base images; AWS's alias `al2023-1` is accepted and echoed as given. */
export const MANAGED_IMAGES = [{ name: "debian-13", aliases: ["al2023-1"], versions: ["1.0"] }] as const
