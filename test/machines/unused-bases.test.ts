import { randomUUID } from "node:crypto"
import { eq } from "drizzle-orm"
import { expect, test } from "vitest"
import { removeUnusedBases } from "../../machines/unused-bases.ts"
import { registerHost } from "../../src/db/identity.ts"
import { bases, vms } from "../../src/db/schema.ts"
import { openTestDatabase } from "../db/database.ts"
import { insertImageVersion } from "../db/image-version-row.ts"

test("Of this host's bases, those go that neither a version nor a VM names", async () => {
  await using database = await openTestDatabase()
  const { db } = database
  const [here, elsewhere] = [randomUUID(), randomUUID()]
  const putBase = async (hostId: string) => {
    const id = randomUUID()
    const size = { memoryMiB: 512, vcpus: 1 }
    await db
      .insert(bases)
      .values({ id, hostId, architecture: "x86_64", ...size, systemDisk: "cache:system", rootDisk: [] })
    return id
  }
  for (const host of [here, elsewhere]) await registerHost(db, host, "name")
  const [ofVersion, ofVm, another] = [await putBase(here), await putBase(here), await putBase(elsewhere)]
  await putBase(here)
  await insertImageVersion(db, { account: "0", region: "eu", name: "app" }, { hostId: here, baseId: ofVersion })
  await db
    .insert(vms)
    .values({ id: randomUUID(), hostId: here, baseId: ofVm, kind: "microvm", memoryMiB: 512, vcpus: 1 })
  await removeUnusedBases(db, here)
  const left = async (hostId: string) =>
    (await db.select({ id: bases.id }).from(bases).where(eq(bases.hostId, hostId))).map(({ id }) => id).toSorted()
  expect(await left(here)).toEqual([ofVersion, ofVm].toSorted())
  expect(await left(elsewhere)).toEqual([another])
})
