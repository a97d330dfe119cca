/** Bases that nothing stands on any more: which they are, and that they go. */
import { rm } from "node:fs/promises"
import { join } from "node:path"
import { and, eq, exists, inArray, isNotNull, not, notExists, sql } from "drizzle-orm"
import { runtimeBases } from "../src/db/functions.ts"
import { bases, imageVersions, vms } from "../src/db/schema.ts"
import type { VmHost } from "./vm.ts"
import type { Database } from "./vm-row.ts"

const one = { one: sql`1` }

/**
 * Removes the rows of bases that no version, runtime or VM names, nor another base's disk lies in, and answers which: a build ended between
 * its base and its version. Of all of them, not only of those `among` which is asked, while no build is at work on this host. Their
 * directories, and the layers below, are nobody's from then on.
 */
export const removeUnusedBases = async (db: Database, hostId: string, among?: readonly string[]): Promise<string[]> => {
  const gone = await db
    .delete(bases)
    .where(
      and(
        eq(bases.hostId, hostId),
        among === undefined ? undefined : inArray(bases.id, [...among]),
        notExists(db.select(one).from(imageVersions).where(eq(imageVersions.baseId, bases.id))),
        notExists(db.select(one).from(runtimeBases).where(eq(runtimeBases.baseId, bases.id))),
        notExists(db.select(one).from(vms).where(eq(vms.baseId, bases.id))),
        sql`not exists (
          select 1 from ${bases} other, jsonb_array_elements_text(other.root_disk) place
          where other.id <> ${bases.id} and place like 'data:bases/' || ${bases.id}::text || '/%')`,
      ),
    )
    .returning({ id: bases.id })
  return gone.map(({ id }) => id)
}

/** VMs that are over have no use for their bases; what an image's version stands on is the version's to say. Answers whose they were. */
export const releaseBases = async (db: Database, hostId: string): Promise<string[]> => {
  const isOver = and(
    eq(vms.hostId, hostId),
    isNotNull(vms.endedAt),
    isNotNull(vms.baseId),
    not(exists(db.select(one).from(imageVersions).where(eq(imageVersions.baseId, vms.baseId)))),
  )
  const rows = await db.select({ id: vms.baseId }).from(vms).where(isOver).groupBy(vms.baseId)
  const released = rows.flatMap(({ id }) => id ?? [])
  if (released.length > 0)
    await db
      .update(vms)
      .set({ baseId: null })
      .where(and(isOver, inArray(vms.baseId, released)))
  return released
}

/** Removes bases of which the last VM has ended since their version was deleted, and `among` others those that nothing stands on. */
export const removeLeftBases = async (
  { db, hostId, dataDirectory }: Pick<VmHost, "db" | "hostId" | "dataDirectory">,
  among: readonly string[] = [],
): Promise<void> => {
  const left = [...(await releaseBases(db, hostId)), ...among]
  if (left.length === 0) return
  for (const id of await removeUnusedBases(db, hostId, left))
    await rm(join(dataDirectory, "bases", id), { recursive: true, force: true })
}
