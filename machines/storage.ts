import { rm } from "node:fs/promises"
import { join } from "node:path"
import { eq } from "drizzle-orm"
import type { OpenRegistry } from "../images/registry/open-registry.ts"
import { writeAudit } from "../src/db/audit.ts"
import { runtimeBases } from "../src/db/functions.ts"
import { fileSizes, sumOf } from "../src/file-sizes.ts"
import type { ArtifactStore } from "../src/store/artifact-store.ts"
import type { BootSnapshots } from "./building/boot-snapshots.ts"
import type { LayerCache } from "./building/layer-cache.ts"
import { snapshotDirectory } from "./environments/snapshots/version-snapshots.ts"
import { CODE_PLACE } from "./functions/code/code-store.ts"
import type { ImageStorage, StorageRemoved, StorageUse } from "./resources.ts"
import type { VmHost } from "./vm.ts"

export interface ImageStorageOptions {
  readonly host: Pick<VmHost, "db" | "hostId">
  readonly dataDirectory: string
  readonly layers: LayerCache
  readonly registry: Pick<OpenRegistry, "usage" | "prune">
  readonly snapshots: BootSnapshots
  readonly store: Pick<ArtifactStore, "usage">
}

/** Files below directories of things, a directory each: how many things, and their bytes. */
const useOf = (kind: StorageUse["kind"], files: readonly (readonly [string, number])[]): StorageUse => ({
  kind,
  count: new Set(files.map(([file]) => file.split("/")[0])).size,
  bytes: sumOf(files.map(([, bytes]) => bytes)),
  reclaimableBytes: 0,
})

/** The rooms of a data directory and its cache that grow with images, builds and functions. */
export const createImageStorage = ({ host, dataDirectory, ...options }: ImageStorageOptions): ImageStorage => {
  const { layers, registry, snapshots, store } = options
  const caches = join(dataDirectory, "caches")

  return {
    async usage() {
      const { db, hostId } = host
      const rows = await db.select().from(runtimeBases).where(eq(runtimeBases.hostId, hostId))
      const ofRuntimes = new Set(rows.map(({ baseId }) => baseId))
      const bases = Map.groupBy(await fileSizes(join(dataDirectory, "bases")), ([file]) =>
        ofRuntimes.has(file.split("/")[0] ?? ""),
      )
      const disks = await fileSizes(join(dataDirectory, "functions/disks"))
      const versions = await fileSizes(snapshotDirectory(dataDirectory))
      const kept = await fileSizes(caches)
      const cacheBytes = sumOf(kept.values())
      const stored = store.usage()
      const ofAccounts = [...stored].filter(([account]) => account !== CODE_PLACE.account).map(([, use]) => use)
      const code = stored.get(CODE_PLACE.account) ?? { files: 0, bytes: 0 }
      return [
        {
          kind: "artifacts",
          count: sumOf(ofAccounts.map(({ files }) => files)),
          bytes: sumOf(ofAccounts.map(({ bytes }) => bytes)),
          reclaimableBytes: 0,
        },
        { kind: "function-code", count: code.files, bytes: code.bytes, reclaimableBytes: 0 },
        useOf("bases", bases.get(false) ?? []),
        { kind: "layers", ...(await layers.usage()) },
        { kind: "caches", count: kept.size, bytes: cacheBytes, reclaimableBytes: cacheBytes },
        { kind: "registry", ...(await registry.usage()) },
        { kind: "boots", ...(await snapshots.usage()) },
        useOf("runtimes", bases.get(true) ?? []),
        useOf("function-disks", [...disks]),
        // Disks that a snapshot's VM has are names of those above.
        useOf(
          "function-snapshots",
          [...versions].filter(([file]) => !file.endsWith(".raw")),
        ),
      ]
    },
    async prune(caller) {
      const { db, hostId } = host
      const removed: StorageRemoved[] = []
      try {
        removed.push({ kind: "layers", ...(await layers.trim(0)) })
        removed.push({ kind: "caches", ...(await removeCaches(caches)) })
        removed.push({ kind: "registry", ...(await registry.prune(0)) })
        removed.push({ kind: "boots", ...(await snapshots.prune(AbortSignal.timeout(60_000))) })
        return removed
      } finally {
        // Also of what went before something could not go.
        const resource = `arn:aws:torpor:::host/${hostId}`
        const details = Object.fromEntries(removed.map(({ kind, count, bytes }) => [kind, { count, bytes }]))
        await writeAudit(db, { scope: caller, resource, type: "images.pruned", cause: "api", by: caller, details })
      }
    },
  }
}

/** Those that a build has are not among them: it takes them away, and gives them back at its end. */
const removeCaches = async (directory: string): Promise<Omit<StorageRemoved, "kind">> => {
  const kept = await fileSizes(directory)
  for (const file of kept.keys()) await rm(join(directory, file), { force: true })
  return { count: kept.size, bytes: sumOf(kept.values()) }
}
