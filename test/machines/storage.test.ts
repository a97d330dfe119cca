import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, test } from "vitest"
import { createBootSnapshots } from "../../machines/building/boot-snapshots.ts"
import { createLayerCache } from "../../machines/building/layer-cache.ts"
import { createImageStorage } from "../../machines/storage.ts"
import { registerHost } from "../../src/db/identity.ts"
import { audit } from "../../src/db/schema.ts"
import { openTestDatabase } from "../db/database.ts"

const caller = { account: "000000000000", region: "us-east-1", accessKeyId: "AKIATEST", requestId: "request" }

test("The audit log has who pruned and what went, also where not all could go", async () => {
  await using database = await openTestDatabase()
  const { db, hostId } = database
  await registerHost(db, hostId, "name")
  await using directory = await mkdtemp(join(tmpdir(), "torpor-storage-")).then((path) => ({
    path,
    [Symbol.asyncDispose]: () => rm(path, { recursive: true }),
  }))
  const { path } = directory
  let failure: Error | undefined
  const storage = createImageStorage({
    host: { db, hostId },
    dataDirectory: path,
    layers: createLayerCache(db, hostId, path, 1e9),
    registry: {
      usage: () => Promise.resolve({ count: 0, bytes: 0, reclaimableBytes: 0 }),
      prune: () => (failure === undefined ? Promise.resolve({ count: 2, bytes: 200 }) : Promise.reject(failure)),
    },
    snapshots: createBootSnapshots(join(path, "boots"), "/cache/system-1/disk.raw", { isCurrent: async () => true }, 0),
    store: { usage: () => new Map() },
  })
  await mkdir(join(path, "caches"))
  const keep = () => writeFile(join(path, "caches/npm"), "tarballs")
  await keep()
  const gone = await storage.prune(caller)
  expect(gone.find(({ kind }) => kind === "caches")).toMatchObject({ count: 1 })
  await keep()
  failure = new Error("The registry's directory cannot be read")
  await expect(storage.prune(caller)).rejects.toThrow(failure)
  expect(await readdir(join(path, "caches"))).toEqual([])
  const nothing = { count: 0, bytes: 0 }
  const told = { layers: nothing, caches: { count: 1, bytes: expect.any(Number) as number } }
  const row = {
    account: caller.account,
    region: caller.region,
    resource: `arn:aws:torpor:::host/${hostId}`,
    action: "images.pruned",
    cause: "api",
    actor: "AKIATEST",
    requestId: "request",
  }
  expect(await db.select().from(audit).orderBy(audit.id)).toMatchObject([
    { ...row, details: { ...told, registry: { count: 2, bytes: 200 }, boots: nothing } },
    { ...row, details: told },
  ])
})
