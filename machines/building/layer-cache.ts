import { randomUUID } from "node:crypto"
import { chmod, chown, link, mkdir, stat } from "node:fs/promises"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { and, eq, inArray } from "drizzle-orm"
import { layers } from "../../src/db/schema.ts"
import { sumOf } from "../../src/file-sizes.ts"
import { carryOutTrim, planTrim } from "./layer-trim.ts"
import type { StorageUse } from "../resources.ts"
import type { Database } from "../vm-row.ts"

export interface CachedLayers {
  /** How many of a chain's links they make. */
  readonly count: number
  /** Bottom first; fewer than links where some of them are one file. */
  readonly files: readonly string[]
}

/** Layers as one build sees them: what it has found or kept stays until it lets go. */
export interface LayerLease {
  /** The longest prefix of a chain that is there. */
  find(account: string, hashes: readonly string[]): Promise<CachedLayers>
  /**
   * Takes a sealed overlay over as a layer on top of the file of an earlier one; answers where it is from now on. Where another build
   * was first, the layer belongs to this build alone: its blocks fit only on the file that it was made on.
   */
  keep(account: string, hash: string, parentFile: string | undefined, overlay: string): Promise<string>
  release(): void
}

export interface LayerCache {
  lease(): LayerLease
  /**
   * Puts rows and files right where a daemon died between the two, and removes the least recently used until the rest fits; what a base
   * or a lease needs stays. At a start it comes before the first build: what a dead daemon's builds had is nobody's then.
   * Answers what went. `upTo` is instead of the cache's own limit.
   */
  trim(upTo?: number): Promise<Pick<StorageUse, "count" | "bytes">>
  usage(): Promise<Omit<StorageUse, "kind">>
}

type LayerRow = typeof layers.$inferSelect

/** The files of a chain's last link, each made on the one before; `undefined` when one of them isn't there. */
const filesUpTo = (chain: readonly (LayerRow | undefined)[]): string[] | undefined => {
  const files: string[] = []
  for (const [index, row] of chain.toReversed().entries()) {
    if (row === undefined) return undefined
    files.unshift(row.file)
    if (row.parentFile === null) return files
    if (chain.at(-2 - index)?.file !== row.parentFile) return undefined
  }
  return undefined
}

/** The layers of this host: `layers/<account>/<hash>-<…>.qcow2`, never changed again; `maxBytes` of them are kept. */
export const createLayerCache = (db: Database, hostId: string, dataDirectory: string, maxBytes: number): LayerCache => {
  const root = join(dataDirectory, "layers")
  const nameOf = (path: string) => path.slice(root.length + 1)

  const rowsOf = async (account: string, hashes: readonly string[]) =>
    new Map(
      (
        await db
          .update(layers)
          .set({ usedAt: new Date() })
          .where(and(eq(layers.hostId, hostId), eq(layers.account, account), inArray(layers.hash, [...hashes])))
          .returning()
      ).map((row) => [row.hash, row]),
    )

  const leases = new Set<Set<string>>()
  const heldNow = () => [...leases].flatMap((held) => [...held])
  let last: Promise<unknown> = Promise.resolve()
  /** One after the other: nothing is removed between the look at a layer and the lease on it. No other daemon has this directory. */
  const alone = <Result>(work: () => Promise<Result>): Promise<Result> => {
    const next = last.then(work)
    last = next.catch(() => {})
    return next
  }

  const bare: Omit<LayerLease, "release"> = {
    async find(account, hashes) {
      const rows = hashes.length === 0 ? new Map<string, LayerRow>() : await rowsOf(account, hashes)
      for (let count = hashes.length; count > 0; count--) {
        const files = filesUpTo(hashes.slice(0, count).map((hash) => rows.get(hash)))
        if (files?.every((file) => existsSync(join(root, file))))
          return { count, files: files.map((file) => join(root, file)) }
      }
      return { count: 0, files: [] }
    },
    async keep(account, hash, parentFile, overlay) {
      const file = join(root, account, `${hash.slice(0, 32)}-${randomUUID().slice(0, 8)}.qcow2`)
      await mkdir(join(root, account), { recursive: true, mode: 0o700 })
      await chown(overlay, 0, 0)
      await chmod(overlay, 0o444)
      // The file first: one without a row is never looked for, and the next trim removes it. A row without its file would be in the way.
      // Linked, not moved: the build VM still knows it by the name it was opened with.
      await link(overlay, file)
      const parent = parentFile === undefined ? null : nameOf(parentFile)
      const fits =
        parent === null ||
        (
          await db
            .select({ file: layers.file })
            .from(layers)
            .where(and(eq(layers.hostId, hostId), eq(layers.file, parent)))
        ).length > 0
      if (fits)
        await db
          .insert(layers)
          .values({
            hostId,
            account,
            hash,
            file: nameOf(file),
            parentFile: parent,
            bytes: (await stat(file)).blocks * 512,
          })
          .onConflictDoNothing()
      return file
    },
  }

  return {
    lease() {
      const held = new Set<string>()
      leases.add(held)
      return {
        find: (account, hashes) =>
          alone(async () => {
            const found = await bare.find(account, hashes)
            for (const file of found.files) held.add(nameOf(file))
            return found
          }),
        keep: (account, hash, parentFile, overlay) =>
          alone(async () => {
            const file = await bare.keep(account, hash, parentFile, overlay)
            held.add(nameOf(file))
            return file
          }),
        release: () => void leases.delete(held),
      }
    },
    trim: (upTo = maxBytes) =>
      alone(async () => {
        const plan = await planTrim(db, hostId, root, heldNow(), upTo)
        await carryOutTrim(db, hostId, root, plan)
        return { count: plan.files.length, bytes: sumOf(plan.files.map((file) => plan.sizes.get(file)!)) }
      }),
    usage: () =>
      alone(async () => {
        const { sizes, files } = await planTrim(db, hostId, root, heldNow(), 0)
        return {
          count: sizes.size,
          bytes: sumOf(sizes.values()),
          reclaimableBytes: sumOf(files.map((file) => sizes.get(file)!)),
        }
      }),
  }
}
