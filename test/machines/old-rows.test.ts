import { randomUUID } from "node:crypto"
import { pino } from "pino"
import { expect, test } from "vitest"
import { openOldRows, removeOldRows } from "../../machines/old-rows.ts"
import { registerHost } from "../../src/db/identity.ts"
import { imageBuilds, outbox, vms } from "../../src/db/schema.ts"
import { openTestDatabase } from "../db/database.ts"
import { insertImageVersion } from "../db/image-version-row.ts"

const { signal } = new AbortController()
const daysAgo = (days: number) => new Date(Date.now() - days * 24 * 3600 * 1000)

test("VMs that were built in go a day after their end, but not those that a build names, that live, or that are another host's", async () => {
  await using database = await openTestDatabase()
  const { db } = database
  const [here, elsewhere] = [randomUUID(), randomUUID()]
  for (const host of [here, elsewhere]) await registerHost(db, host, "name")
  const put = async (days: number | undefined, more: Partial<typeof vms.$inferInsert> = {}) => {
    const id = randomUUID()
    const endedAt = days === undefined ? null : daysAgo(days)
    await db.insert(vms).values({ id, hostId: here, kind: "build", memoryMiB: 512, vcpus: 1, endedAt, ...more })
    return id
  }
  const stay = [await put(undefined), await put(0.9), await put(2, { kind: "microvm" })]
  stay.push(await put(2, { hostId: elsewhere }))
  const named = await put(2)
  const { imageVersionId } = await insertImageVersion(db, { account: "0", region: "eu", name: "app" }, { hostId: here })
  await db
    .insert(imageBuilds)
    .values({ id: randomUUID(), imageVersionId, vmId: named, state: "SUCCESSFUL", architecture: "X86_64" })
  for (let old = 0; old < 3; old++) await put(1.1)
  await removeOldRows(db, here, signal)
  const left = (await db.select({ id: vms.id }).from(vms)).map(({ id }) => id)
  expect(left.toSorted()).toEqual([...stay, named].toSorted())
})

test("Events that nobody has fetched for a week go, however many they are", async () => {
  await using database = await openTestDatabase()
  const { db, hostId } = database
  await registerHost(db, hostId, "name")
  const event = (days: number) => ({ at: daysAgo(days), account: "0", resource: "arn", type: "vm.over", payload: {} })
  for (let part = 0; part < 5; part++) await db.insert(outbox).values(Array.from({ length: 500 }, () => event(8)))
  await db.insert(outbox).values([event(6), event(0)])
  const oldRows = openOldRows({ db, hostId, log: pino({ level: "silent" }) })
  await expect.poll(() => db.$count(outbox)).toBe(2)
  await oldRows[Symbol.asyncDispose]()
})
