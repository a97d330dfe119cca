/**
 * How much room runtimes' bases take in a data directory. Each time one is asked for it is marked as used, by the time of its directory;
 * what is beyond the limit goes, the least recently used first. What a VM stands on stays until it is over.
 */
import { rm, stat, utimes } from "node:fs/promises"
import { join } from "node:path"
import { eq, inArray } from "drizzle-orm"
import { runtimeBases } from "../../src/db/functions.ts"
import { fileSizes, sumOf } from "../../src/file-sizes.ts"
import { leastRecent, type Kept } from "../../src/least-recent.ts"
import { releaseBases, removeUnusedBases } from "../unused-bases.ts"
import type { VmHost } from "../vm.ts"

/** It is of use now. */
export const markUsed = async (directory: string): Promise<void> => {
  const now = new Date()
  await utimes(directory, now, now)
}

/** Forgets what is beyond `maxBytes`, and removes those of them that no VM stands on; the others go at a later call, or the next start. */
export const trimBases = async (
  { db, hostId, dataDirectory }: Pick<VmHost, "db" | "hostId" | "dataDirectory">,
  maxBytes: number,
): Promise<void> => {
  const directoryOf = (id: string) => join(dataDirectory, "bases", id)
  const rows = await db.select({ id: runtimeBases.baseId }).from(runtimeBases).where(eq(runtimeBases.hostId, hostId))
  const kept = new Map<string, Kept>()
  for (const { id } of rows) {
    const used = await stat(directoryOf(id)).catch(() => undefined)
    const bytes = sumOf((await fileSizes(directoryOf(id))).values())
    kept.set(id, { bytes, usedAt: used?.mtimeMs ?? 0 })
  }
  const gone = leastRecent(kept, maxBytes)
  if (gone.length === 0) return
  await db.delete(runtimeBases).where(inArray(runtimeBases.baseId, gone))
  await releaseBases(db, hostId)
  for (const id of await removeUnusedBases(db, hostId, gone))
    await rm(directoryOf(id), { recursive: true, force: true })
}
