import { randomUUID } from "node:crypto"
import { existsSync, readdirSync } from "node:fs"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { eq } from "drizzle-orm"
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest"
import { createLayerCache, type LayerLease } from "../../machines/building/layer-cache.ts"
import { registerHost } from "../../src/db/identity.ts"
import { layers } from "../../src/db/schema.ts"
import { insertBase } from "../db/base-row.ts"
import { openTestDatabase, type TestDatabase } from "../db/database.ts"

const BYTES = 64 * 1024
const ACCOUNT = "000000000000"

let database: TestDatabase
let directory: string
let hostId: string
beforeAll(async () => {
  database = await openTestDatabase()
})
afterAll(() => database?.[Symbol.asyncDispose]())
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "torpor-layers-"))
  hostId = randomUUID()
  await registerHost(database.db, hostId, "here")
})
afterEach(() => rm(directory, { recursive: true }))

/** Room for so many layers. */
const open = (room: number) => createLayerCache(database.db, hostId, directory, room * BYTES)
const keep = async (lease: LayerLease, hash: string, parent?: string, account = ACCOUNT) => {
  const overlay = join(directory, `overlay-${randomUUID()}`)
  await writeFile(overlay, Buffer.alloc(BYTES, 1))
  const file = await lease.keep(account, hash, parent, overlay)
  await rm(overlay)
  return file
}
const rows = async () =>
  (await database.db.select().from(layers).where(eq(layers.hostId, hostId))).map(({ hash }) => hash).toSorted()
const files = () =>
  readdirSync(join(directory, "layers"), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
const usedAt = (hash: string, minute: number) =>
  database.db
    .update(layers)
    .set({ usedAt: new Date(minute * 60_000) })
    .where(eq(layers.hash, hash))
const putBase = (...rootDisk: string[]) =>
  insertBase(database.db, {
    hostId,
    rootDisk: rootDisk.map((file) => `data:${file.slice(directory.length + 1)}`),
  })

test("The least recently used layers go until the rest fits, whosever they are", async () => {
  const cache = open(2)
  const lease = cache.lease()
  for (const [index, hash] of ["b", "a", "c", "d"].entries()) {
    await keep(lease, hash, undefined, hash === "a" ? "111111111111" : ACCOUNT)
    await usedAt(hash, index)
  }
  await usedAt("b", 9)
  lease.release()
  await cache.trim()
  expect(await rows()).toEqual(["b", "d"])
  expect(files()).toHaveLength(2)
})

test("A layer that is found counts as used, for its own account alone", async () => {
  const cache = open(1)
  const lease = cache.lease()
  for (const [index, hash] of ["a", "b"].entries()) {
    await keep(lease, hash)
    await usedAt(hash, index)
  }
  expect(await lease.find("111111111111", ["b"])).toEqual({ count: 0, files: [] })
  await lease.find(ACCOUNT, ["a"])
  lease.release()
  await cache.trim()
  expect(await rows()).toEqual(["a"])
})

test("A layer stays as long as one that stands on it does", async () => {
  const cache = open(2)
  const lease = cache.lease()
  const parent = await keep(lease, "parent")
  await keep(lease, "child", parent)
  await keep(lease, "other")
  await usedAt("parent", 1)
  await usedAt("other", 2)
  await usedAt("child", 3)
  lease.release()
  await cache.trim()
  expect(await rows()).toEqual(["child", "parent"])
  await open(1).trim()
  expect(await rows()).toEqual(["parent"])
})

test("What a base or a running build needs stays, however little room there is", async () => {
  const cache = open(0)
  const [ended, running] = [cache.lease(), cache.lease()]
  const parent = await keep(ended, "parent")
  await putBase(parent, await keep(ended, "child", parent))
  await keep(ended, "found")
  await keep(ended, "unused")
  await keep(running, "kept")
  await running.find(ACCOUNT, ["found"])
  ended.release()
  await cache.trim()
  expect(await rows()).toEqual(["child", "found", "kept", "parent"])
  running.release()
  await cache.trim()
  expect(await rows()).toEqual(["child", "parent"])
  expect(files()).toHaveLength(2)
})

test("A layer that another build was first with lives while its own build or base needs it", async () => {
  const cache = open(9)
  const [first, second, third] = [cache.lease(), cache.lease(), cache.lease()]
  await keep(first, "same")
  const [based, lost] = [await keep(second, "same"), await keep(third, "same")]
  await putBase(based)
  await cache.trim()
  expect(files()).toHaveLength(3)
  for (const lease of [first, second, third]) lease.release()
  await cache.trim()
  expect([existsSync(based), existsSync(lost)]).toEqual([true, false])
  expect(await rows()).toEqual(["same"])
})

test("After a daemon that died between a file and its row, both are right again, and the step can be kept anew", async () => {
  const dead = open(9).lease()
  const parent = await keep(dead, "parent")
  await keep(dead, "child", parent)
  const rowless = await keep(dead, "rowless")
  await keep(dead, "sound")
  await rm(parent)
  await database.db.delete(layers).where(eq(layers.hash, "rowless"))
  const cache = open(9)
  await cache.trim()
  expect(await rows()).toEqual(["sound"])
  expect(existsSync(rowless)).toBe(false)
  expect(files()).toHaveLength(1)
  const lease = cache.lease()
  const again = await keep(lease, "parent")
  expect(await lease.find(ACCOUNT, ["parent"])).toEqual({ count: 1, files: [again] })
})

test("What layers take is told, with what of it nothing needs, and trimming tells what went", async () => {
  const cache = open(9)
  const [ended, running] = [cache.lease(), cache.lease()]
  await putBase(await keep(ended, "based"))
  await keep(ended, "unused")
  await keep(running, "running")
  ended.release()
  const { count, bytes, reclaimableBytes } = await cache.usage()
  expect({ count, share: reclaimableBytes / bytes }).toEqual({ count: 3, share: 1 / 3 })
  expect(await cache.trim(0)).toEqual({ count: 1, bytes: reclaimableBytes })
  expect(await cache.usage()).toEqual({ count: 2, bytes: bytes - reclaimableBytes, reclaimableBytes: 0 })
  expect(await rows()).toEqual(["based", "running"])
})

test("Nothing is wrong with a host that has no layers yet", async () => {
  await open(0).trim()
  expect(await rows()).toEqual([])
})
