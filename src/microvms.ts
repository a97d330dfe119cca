/** Lambda MicroVMs of a daemon, put together: the lives of MicroVMs and of image versions, and the way to those that run. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import type { Registry as Metrics } from "prom-client"
import type { Artifacts as BaseArtifacts } from "../images/artifacts.ts"
import type { OpenRegistry } from "../images/registry/open-registry.ts"
import { createBootSnapshots, type BootSnapshots } from "../machines/building/boot-snapshots.ts"
import { createBuildVerbs } from "../machines/building/build.ts"
import { createKeptCaches } from "../machines/building/kept-caches.ts"
import { createLayerCache, type LayerCache } from "../machines/building/layer-cache.ts"
import { createTurns } from "../machines/building/turns.ts"
import type { Places } from "../machines/disks.ts"
import { saveImageVersion } from "../machines/image-row.ts"
import { createImageVersionMachine, type ImageVersionMachine } from "../machines/image-version.ts"
import { createLightSleep } from "../machines/light-sleep.ts"
import { createMicrovmMachine, toMicrovmState, type MicrovmMachine } from "../machines/microvm.ts"
import { saveMicrovm } from "../machines/microvm-row.ts"
import { restoreMicrovms } from "../machines/recovery.ts"
import { createRegistry, type Registry } from "../machines/registry.ts"
import { createMicrovmRouter, type MicrovmRouter } from "../machines/router.ts"
import type { Spares } from "../machines/spares.ts"
import { createVmVerbs } from "../machines/vm-life.ts"
import type { Database } from "../machines/vm-row.ts"
import type { VmHost } from "../machines/vm.ts"
import type { Work } from "../machines/work.ts"
import { RouteError } from "../proxy/route.ts"
import type { Config } from "./config.ts"
import type { Logs } from "./logs/logs.ts"
import type { Secrets } from "./secrets.ts"
import type { Artifacts } from "./store/artifact.ts"

export interface MicrovmRoomsOptions {
  readonly config: Config
  readonly db: Database & { transaction<T>(work: (tx: Database) => Promise<T>): Promise<T> }
  readonly host: VmHost
  readonly places: Places
  readonly base: BaseArtifacts
  readonly secrets: Secrets
  readonly artifacts: Artifacts
  /** Where other base images come from. */
  readonly registry: OpenRegistry
  readonly logs: Logs
  readonly spares: Spares
  readonly createOverlay: (path: string) => Promise<void>
  readonly work: Work
  readonly metrics: Metrics
  /** Told which MicroVM can be reached no longer, and which is over. */
  readonly onDisconnected: (id: string) => void
  readonly onOver: (id: string) => void
}

export interface MicrovmRooms extends AsyncDisposable {
  readonly microvms: Registry<MicrovmMachine>
  readonly imageVersions: Registry<ImageVersionMachine>
  readonly router: MicrovmRouter
  readonly layers: LayerCache
  readonly snapshots: BootSnapshots
}

/**
 * Opens them, after the sweep of this host; MicroVMs that run can be reached when it resolves, and builds are left to be taken up.
 * Disposing leaves them as they are, but that those that sleep have no process.
 */
export const openMicrovmRooms = async (options: MicrovmRoomsOptions, signal: AbortSignal): Promise<MicrovmRooms> => {
  const { config, db, host, places, base, spares, createOverlay, work, logs } = options
  const { hostId, log } = host
  await using opened = new AsyncDisposableStack()
  // Statecharts wait for their own rows, by way of the registry that will own them.
  const registries = {} as { microvms: Registry<MicrovmMachine>; imageVersions: Registry<ImageVersionMachine> }
  const vmOwner = new Map<string, string>()
  const router = createMicrovmRouter({
    db,
    host,
    domain: `vm.${config.domain}`,
    registry: () => registries.microvms,
    refuse: (why) => new RouteError(why),
  })
  const lightSleep = opened.use(
    createLightSleep({
      host,
      max: config.lightSleep.max,
      maxMemoryShare: config.lightSleep.maxMemoryShare,
      keptMs: config.lightSleep.seconds * 1000,
      metrics: options.metrics,
    }),
  )
  const verbs = createVmVerbs({
    host,
    places,
    createOverlay,
    spares,
    lightSleep,
    stored: (vmId) => registries.microvms.stored(vmOwner.get(vmId) ?? vmId),
  })
  const layers = createLayerCache(db, hostId, places.dataDirectory, config.layers.maxMiB * 1024 ** 2)
  const snapshots = createBootSnapshots(
    join(config.cacheDirectory, "boots"),
    base.systemDisk,
    host.vmm,
    config.environments.maxBasesMiB * 1024 ** 2,
  )
  const buildVerbs = createBuildVerbs({
    host,
    db,
    places,
    artifacts: options.artifacts,
    base,
    registry: options.registry,
    snapshots,
    layers,
    caches: createKeptCaches({
      directory: join(places.dataDirectory, "caches"),
      blankDisk: base.blankDisk,
      maxBytes: config.layers.maxCachesMiB * 1024 ** 2,
    }),
    logs,
    secrets: options.secrets,
    createOverlay,
    ...toBuildLimits(config),
    secretOf(id) {
      const file = Object.hasOwn(config.secrets, id) ? config.secrets[id] : undefined
      return file === undefined ? undefined : readFileSync(file, "utf8")
    },
    stored: (id) => registries.imageVersions.stored(id),
  })
  registries.microvms = createRegistry(
    {
      name: "microvm",
      machine: createMicrovmMachine(work.count(verbs), router.activityOf),
      save: (id, generation, snapshot, persisted) =>
        db.transaction((tx) => saveMicrovm(tx, id, generation, snapshot, persisted)),
      observe(id, snapshot) {
        const { vmId, cause, stateReason } = snapshot.context
        log.info(
          { microvm: id, vmId, state: toMicrovmState(snapshot), cause, reason: stateReason ?? undefined },
          "MicroVM",
        )
        vmOwner.set(vmId, id)
        if (!snapshot.hasTag("connected")) options.onDisconnected(id)
        if (snapshot.hasTag("over")) {
          vmOwner.delete(vmId)
          options.onOver(id)
        }
      },
    },
    log,
  )
  registries.imageVersions = createRegistry(
    {
      name: "image-version",
      machine: createImageVersionMachine(work.count(buildVerbs)),
      save: (id, generation, snapshot, persisted) =>
        db.transaction((tx) => saveImageVersion(tx, id, generation, snapshot, persisted)),
      observe(id, snapshot) {
        const { buildId, failure } = snapshot.context
        log.info({ imageVersion: id, build: buildId, phase: snapshot.value, reason: failure?.message }, "Build")
      },
    },
    log,
  )
  opened.defer(() => registries.microvms.close())
  opened.defer(() => registries.imageVersions.close())
  await restoreMicrovms(host, registries.microvms, signal)
  const held = opened.move()
  return { ...registries, router, layers, snapshots, [Symbol.asyncDispose]: () => held.disposeAsync() }
}

const toBuildLimits = (config: Config) => ({
  turns: createTurns(config.maxConcurrentBuilds),
  memoryBurstFactor: config.memoryBurstFactor,
  readyTimeoutMs: config.readyTimeoutSeconds * 1000,
  buildArguments: config.buildArguments,
  maxBasesBytes: config.images.maxBasesMiB * 1024 ** 2,
  timeoutMs: config.buildTimeoutSeconds * 1000,
  stepTimeoutMs: config.stepTimeoutSeconds * 1000,
})
