import { randomUUID } from "node:crypto"
import { bases } from "../../src/db/schema.ts"
import type { TestDatabase } from "./database.ts"

type Row = typeof bases.$inferInsert

/** The row of a base that has no files; for what needs the row and no base. */
export const baseRowOf = (given: Pick<Row, "hostId"> & Partial<Row>) => ({
  id: randomUUID(),
  architecture: "x86_64",
  memoryMiB: 512,
  vcpus: 1,
  systemDisk: "cache:system",
  rootDisk: [],
  ...given,
})

/** Inserts one; resolves with its id. */
export const insertBase = async (
  db: Pick<TestDatabase["db"], "insert">,
  given: Parameters<typeof baseRowOf>[0],
): Promise<string> => {
  const row = baseRowOf(given)
  await db.insert(bases).values(row)
  return row.id
}
