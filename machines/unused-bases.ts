import { and, eq, notExists, sql } from "drizzle-orm"
import { runtimeBases } from "../src/db/functions.ts"
import { bases, imageVersions, vms } from "../src/db/schema.ts"
import type { Database } from "./vm-row.ts"

/**
 * Removes the rows of bases that no version, runtime or VM names: a build ended between its base and its version. Only while no build is
 * at work on this host. Their directories, and the layers below, are nobody's from then on.
 */
export const removeUnusedBases = async (db: Database, hostId: string): Promise<void> => {
  const one = { one: sql`1` }
  await db
    .delete(bases)
    .where(
      and(
        eq(bases.hostId, hostId),
        notExists(db.select(one).from(imageVersions).where(eq(imageVersions.baseId, bases.id))),
        notExists(db.select(one).from(runtimeBases).where(eq(runtimeBases.baseId, bases.id))),
        notExists(db.select(one).from(vms).where(eq(vms.baseId, bases.id))),
      ),
    )
}
