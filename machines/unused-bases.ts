import { and, eq, inArray, notExists, sql } from "drizzle-orm"
import { runtimeBases } from "../src/db/functions.ts"
import { bases, imageVersions, vms } from "../src/db/schema.ts"
import type { Database } from "./vm-row.ts"

/**
 * Removes the rows of bases that no version, runtime or VM names, and answers which: a build ended between its base and its version. Of
 * all of them, not only of those `among` which is asked, while no build is at work on this host. Their directories, and the layers below,
 * are nobody's from then on.
 */
export const removeUnusedBases = async (db: Database, hostId: string, among?: readonly string[]): Promise<string[]> => {
  const one = { one: sql`1` }
  const gone = await db
    .delete(bases)
    .where(
      and(
        eq(bases.hostId, hostId),
        among === undefined ? undefined : inArray(bases.id, [...among]),
        notExists(db.select(one).from(imageVersions).where(eq(imageVersions.baseId, bases.id))),
        notExists(db.select(one).from(runtimeBases).where(eq(runtimeBases.baseId, bases.id))),
        notExists(db.select(one).from(vms).where(eq(vms.baseId, bases.id))),
      ),
    )
    .returning({ id: bases.id })
  return gone.map(({ id }) => id)
}
