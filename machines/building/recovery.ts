/** What of builds an earlier daemon left: those that are not over get their actors back, and bases that nobody needs are removed. */
import { join } from "node:path"
import { eq } from "drizzle-orm"
import { bases } from "../../src/db/schema.ts"
import { unfinishedVersions } from "../images/image-row.ts"
import type { ImageVersionMachine } from "../image-version.ts"
import { removeOthers } from "../recovery.ts"
import type { Registry } from "../registry.ts"
import { removeUnusedBases } from "../unused-bases.ts"
import type { VmHost } from "../vm.ts"

/** Removes bases that no row needs, and files of those that no row knows. Before any build starts. */
export const sweepBases = async ({ db, hostId, dataDirectory }: VmHost): Promise<void> => {
  await removeUnusedBases(db, hostId)
  const keptBases = await db.select({ id: bases.id }).from(bases).where(eq(bases.hostId, hostId))
  await removeOthers(join(dataDirectory, "bases"), new Set(keptBases.map(({ id }) => id)))
}

/** Starts the actor of every build that is not over. */
export const restoreBuilds = async (
  { db, hostId }: Pick<VmHost, "db" | "hostId">,
  registry: Registry<ImageVersionMachine>,
): Promise<void> => {
  for (const { version, buildId } of await unfinishedVersions(db, hostId))
    registry.start(version.id, version.generation, {
      // A build is never taken up in the middle: it enters by its row.
      input: { id: version.id, buildId, state: version.state },
    })
}
