import { randomUUID } from "node:crypto"
import { sql } from "drizzle-orm"
import { pino } from "pino"
import { expect, test } from "vitest"
import { openOldRows, removeOldRows } from "../../machines/old-rows.ts"
import { writeAudit } from "../../src/db/audit.ts"
import { registerHost } from "../../src/db/identity.ts"
import { audit, clientTokens, imageBuilds, microvms, outbox, vms } from "../../src/db/schema.ts"
import { openTestDatabase } from "../db/database.ts"
import { insertImageVersion } from "../db/image-version-row.ts"

const { signal } = new AbortController()
const remembered = { auditDays: 365, maxAuditRows: 1e6, microvmDays: 30, maxMicrovms: 1e5 }
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
  await removeOldRows({ db, hostId: here, remembered }, signal)
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
  const oldRows = openOldRows({ db, hostId, remembered, log: pino({ level: "silent" }), removeFiles: async () => {} })
  await expect.poll(() => db.$count(outbox)).toBe(2)
  await oldRows[Symbol.asyncDispose]()
  await db.insert(outbox).values(Array.from({ length: 1500 }, () => event(0)))
  await removeOldRows({ db, hostId, remembered: { ...remembered, maxAuditRows: 1000 } }, signal)
  expect(await db.$count(outbox)).toBe(1000)
})

test("What the audit log says goes by its age, and the oldest when it is too much", async () => {
  await using database = await openTestDatabase()
  const { db, hostId } = database
  const row = (days: number) => ({
    at: daysAgo(days),
    account: "0",
    region: "eu",
    resource: String(days),
    action: "microvm.running",
    cause: "api" as const,
  })
  await db.insert(audit).values([...Array.from({ length: 1500 }, () => row(9)), row(6), row(5), row(0)])
  const left = async (more: Partial<typeof remembered>) => {
    await removeOldRows({ db, hostId, remembered: { ...remembered, ...more } }, signal)
    return (await db.select({ resource: audit.resource }).from(audit).orderBy(audit.id)).map(({ resource }) => resource)
  }
  expect(await left({})).toHaveLength(1503)
  expect(await left({ auditDays: 8 })).toEqual(["6", "5", "0"])
  expect(await left({ maxAuditRows: 2 })).toEqual(["5", "0"])
})

test("The audit log and the events beside it stay within their bounds while they are written, not only from hour to hour", async () => {
  await using database = await openTestDatabase()
  const { db, hostId } = database
  const scope = { account: "0", region: "eu" }
  const entry = { scope, resource: "arn", type: "microvm.running", cause: "api" } as const
  await db
    .insert(audit)
    .values({ ...scope, at: daysAgo(400), resource: "arn", action: "microvm.running", cause: "api" })
  const bounds = { ...remembered, maxAuditRows: 10 }
  await using _ = openOldRows({
    db,
    hostId,
    remembered: bounds,
    log: pino({ level: "silent" }),
    removeFiles: async () => {},
  })
  // The last thing that its first look does.
  await expect.poll(() => db.$count(audit), { timeout: 60_000 }).toBe(0)
  const event = { account: "0", resource: "arn", type: "vm.over", payload: {} }
  await db.insert(outbox).values(Array.from({ length: 20 }, () => event))
  // All ids but the last of the thousand, as if so many had been written.
  await db.execute(sql`select setval('audit_id_seq', 979)`)
  for (let row = 0; row < 20; row++) await writeAudit(db, entry)
  expect(await db.$count(audit)).toBe(20)
  await writeAudit(db, entry)
  await expect.poll(() => db.$count(audit), { timeout: 60_000 }).toBe(10)
  await expect.poll(() => db.$count(outbox), { timeout: 60_000 }).toBe(10)
})

test("MicroVMs that have been over for long, or are too many, are forgotten with their VMs and client tokens, and none that is still listed", async () => {
  await using database = await openTestDatabase()
  const { db, hostId } = database
  await registerHost(db, hostId, "name")
  const scope = { account: "0", region: "eu" }
  const { imageId, imageVersionId } = await insertImageVersion(db, { ...scope, name: "app" }, { hostId })
  const put = async (days: number | undefined, processEnded = true) => {
    const [id, vmId] = [randomUUID(), randomUUID()]
    const terminatedAt = days === undefined ? null : daysAgo(days)
    await db.insert(vms).values({
      id: vmId,
      hostId,
      kind: "microvm",
      memoryMiB: 512,
      vcpus: 1,
      endedAt: processEnded ? terminatedAt : null,
    })
    await db.insert(microvms).values({
      id,
      vmId,
      hostId,
      ...scope,
      imageId,
      imageName: "app",
      imageVersionId,
      imageVersion: "1.0",
      endpointId: randomUUID(),
      state: days === undefined ? "RUNNING" : "TERMINATED",
      cause: "api",
      maximumDurationSeconds: 60,
      ingressConnectors: [],
      egressConnectors: [],
      startedAt: daysAgo(90),
      deadlineAt: daysAgo(90),
      terminatedAt,
      machineVersion: 1,
    })
    await db
      .insert(clientTokens)
      .values({ ...scope, operation: "RunMicrovm", token: id, requestHash: "", resourceId: id })
    return id
  }
  const left = async (more: Partial<typeof remembered>) => {
    await removeOldRows({ db, hostId, remembered: { ...remembered, ...more } }, signal)
    const ids = (await db.select({ id: microvms.id }).from(microvms)).map(({ id }) => id)
    const tokens = (await db.select({ id: clientTokens.resourceId }).from(clientTokens)).map(({ id }) => id)
    expect(tokens.toSorted()).toEqual(ids.toSorted())
    expect(await db.$count(vms)).toBe(ids.length)
    return ids.toSorted()
  }
  await put(31)
  const unended = await put(31, false)
  const stay = [unended, await put(undefined), await put(0.5), await put(0.6)]
  const [older, newer] = [await put(29), await put(2)]
  expect(await left({})).toEqual([...stay, older, newer].toSorted())
  expect(await left({ maxMicrovms: 3 })).toEqual([...stay, newer].toSorted())
  expect(await left({ maxMicrovms: 0 })).toEqual(stay.toSorted())
})
