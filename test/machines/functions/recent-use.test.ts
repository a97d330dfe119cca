import { eq } from "drizzle-orm"
import { expect, test } from "vitest"
import { recentlyUsed } from "../../../machines/functions/usage/recent-use.ts"
import { functionUsage, functionVersions } from "../../../src/db/functions.ts"
import { registerHost } from "../../../src/db/identity.ts"
import { openTestDatabase } from "../../db/database.ts"
import { insertFunction } from "./events/function-rows.ts"

const hour = (number: number) => new Date(Date.UTC(2026, 0, 10, number))

test("Versions are told by when they were used or changed last, and those that were not lately aren't told", async () => {
  await using database = await openTestDatabase()
  const { db, hostId } = database
  await registerHost(db, hostId, "here")
  const names = new Map<string, string>()
  const insert = async (
    name: string,
    modifiedAt: Date,
    uses: readonly (readonly [at: Date, invocations: number])[] = [],
    more: Partial<typeof functionVersions.$inferInsert> = {},
  ) => {
    const functionId = await insertFunction(db, hostId, name)
    const [version] = await db
      .update(functionVersions)
      .set({ modifiedAt, ...more })
      .where(eq(functionVersions.functionId, functionId))
      .returning({ id: functionVersions.id })
    names.set(version?.id ?? "", name)
    const count = { errors: 0, throttles: 0, durationMs: 0, gbSeconds: 0 }
    for (const [at, invocations] of uses)
      await db
        .insert(functionUsage)
        .values({ ...count, functionId, version: more.number ? String(more.number) : "$LATEST", hour: at, invocations })
  }
  await insert("old", hour(1), [[hour(1), 1000]])
  await insert("old, but used", hour(1), [
    [hour(5), 7],
    [hour(9), 1],
  ])
  await insert("used more", hour(1), [[hour(9), 9]])
  await insert("a version", hour(1), [[hour(8), 1]], { number: 3 })
  await insert("changed", new Date(hour(9).getTime() + 1_800_000))
  await insert("unfinished", hour(11), [], { state: "Pending" })
  await insert("changed last", hour(11))
  const told = async (most: number) =>
    (await recentlyUsed(db, hostId, hour(2), most)).map((versionId) => names.get(versionId))
  expect(await told(10)).toEqual(["changed last", "used more", "old, but used", "changed", "a version"])
  expect(await told(2)).toEqual(["changed last", "used more"])
  expect(await recentlyUsed(db, "00000000-0000-4000-8000-000000000000", hour(2), 10)).toEqual([])
})
