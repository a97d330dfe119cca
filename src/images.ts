/** Images of a daemon, put together: the lives of their versions, and what builds keep for others. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import type { OpenRegistry } from "../images/registry/open-registry.ts"
import { createBootSnapshots, type BootSnapshots } from "../machines/building/boot-snapshots.ts"
import { createBuildVerbs } from "../machines/building/build.ts"
import { createKeptCaches } from "../machines/building/kept-caches.ts"
import { createLayerCache, type LayerCache } from "../machines/building/layer-cache.ts"
import { createTurns } from "../machines/building/turns.ts"
import { saveImageVersion } from "../machines/images/image-row.ts"
import { createImageVersionMachine, type ImageVersionMachine } from "../machines/image-version.ts"
import { createRegistry, type Registry } from "../machines/registry.ts"
import type { MakingGround } from "./room-ground.ts"

export interface ImageRoomsOptions extends MakingGround {
  /** Where other base images come from. */
  readonly registry: OpenRegistry
}

export interface ImageRooms extends AsyncDisposable {
  readonly imageVersions: Registry<ImageVersionMachine>
  readonly layers: LayerCache
  readonly snapshots: BootSnapshots
}

/** Opens them; builds that an earlier daemon left are to be taken up. Disposing leaves those that are under way as they are. */
export const openImageRooms = (options: ImageRoomsOptions): ImageRooms => {
  const { config, db, host, places, base, createOverlay, work } = options
  const { hostId, log, logs } = host
  const layers = createLayerCache(db, hostId, places.dataDirectory, config.layers.maxMiB * 1024 ** 2)
  const snapshots = createBootSnapshots(
    join(config.cacheDirectory, "boots"),
    base.systemDisk,
    host.vmm,
    config.environments.maxBasesMiB * 1024 ** 2,
  )
  // Statecharts wait for their own rows, by way of the registry that will own them.
  const registries = {} as { imageVersions: Registry<ImageVersionMachine> }
  const verbs = createBuildVerbs({
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
    turns: createTurns(config.maxConcurrentBuilds),
    memoryBurstFactor: config.memoryBurstFactor,
    readyTimeoutMs: config.readyTimeoutSeconds * 1000,
    buildArguments: config.buildArguments,
    maxBasesBytes: config.images.maxBasesMiB * 1024 ** 2,
    timeoutMs: config.buildTimeoutSeconds * 1000,
    stepTimeoutMs: config.stepTimeoutSeconds * 1000,
    secretOf(id) {
      const file = Object.hasOwn(config.secrets, id) ? config.secrets[id] : undefined
      return file === undefined ? undefined : readFileSync(file, "utf8")
    },
    stored: (id) => registries.imageVersions.stored(id),
  })
  registries.imageVersions = createRegistry(
    {
      name: "image-version",
      machine: createImageVersionMachine(work.count(verbs)),
      save: (id, generation, snapshot, persisted) =>
        db.transaction((tx) => saveImageVersion(tx, id, generation, snapshot, persisted)),
      observe(id, snapshot) {
        const { buildId, failure } = snapshot.context
        log.info({ imageVersion: id, build: buildId, phase: snapshot.value, reason: failure?.message }, "Build")
      },
    },
    log,
  )
  const { imageVersions } = registries
  return { imageVersions, layers, snapshots, [Symbol.asyncDispose]: () => imageVersions.close() }
}
