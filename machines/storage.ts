import { rm } from "node:fs/promises"
import { join } from "node:path"
import type { OpenRegistry } from "../images/registry/open-registry.ts"
import { fileSizes, sumOf } from "../src/file-sizes.ts"
import type { BootSnapshots } from "./building/boot-snapshots.ts"
import type { LayerCache } from "./building/layer-cache.ts"
import type { ImageStorage } from "./resources.ts"

export interface ImageStorageOptions {
  readonly dataDirectory: string
  readonly layers: LayerCache
  readonly registry: Pick<OpenRegistry, "usage" | "prune">
  readonly snapshots: BootSnapshots
}

/** The rooms of a data directory and its cache that grow with images and builds. */
export const createImageStorage = ({ dataDirectory, ...options }: ImageStorageOptions): ImageStorage => {
  const { layers, registry, snapshots } = options
  const caches = join(dataDirectory, "caches")

  return {
    async usage() {
      const bases = await fileSizes(join(dataDirectory, "bases"))
      const kept = await fileSizes(caches)
      const cacheBytes = sumOf(kept.values())
      return [
        {
          kind: "bases",
          count: new Set([...bases.keys()].map((file) => file.split("/")[0])).size,
          bytes: sumOf(bases.values()),
          reclaimableBytes: 0,
        },
        { kind: "layers", ...(await layers.usage()) },
        { kind: "caches", count: kept.size, bytes: cacheBytes, reclaimableBytes: cacheBytes },
        { kind: "registry", ...(await registry.usage()) },
        { kind: "boots", ...(await snapshots.usage()) },
      ]
    },
    async prune() {
      const kept = await fileSizes(caches)
      // Those that a build has are not among them: it takes them away, and gives them back at its end.
      for (const file of kept.keys()) await rm(join(caches, file), { force: true })
      return [
        { kind: "layers", ...(await layers.trim(0)) },
        { kind: "caches", count: kept.size, bytes: sumOf(kept.values()) },
        { kind: "registry", ...(await registry.prune(0)) },
        { kind: "boots", ...(await snapshots.prune(AbortSignal.timeout(60_000))) },
      ]
    },
  }
}
