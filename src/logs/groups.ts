import { and, eq } from "drizzle-orm"
import { logGroups, logs } from "../db/logs.ts"
import type { LogDatabase } from "./logs.ts"
import type { LogAddress } from "./names.ts"

/** Begins a log at its address, in the caller's transaction. */
export const createLog = async (
  db: LogDatabase,
  { id, hostId, address }: { id: string; hostId: string; address: LogAddress },
): Promise<void> => {
  const groupId = await ensureGroup(db, address)
  await db.insert(logs).values({ id, hostId, groupId, stream: address.stream })
}

/** The group's id. Whoever begins a log in it holds its row, so that it isn't removed as empty meanwhile. */
const ensureGroup = async (db: LogDatabase, { account, region, group: name }: LogAddress): Promise<string> => {
  for (;;) {
    await db.insert(logGroups).values({ account, region, name }).onConflictDoNothing()
    const [row] = await db
      .select({ id: logGroups.id })
      .from(logGroups)
      .where(and(eq(logGroups.account, account), eq(logGroups.region, region), eq(logGroups.name, name)))
      .for("key share")
    if (row !== undefined) return row.id
  }
}
