import { randomUUID } from "node:crypto"
import { eq } from "drizzle-orm"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { createRuntimeGrounds } from "../../machines/environments/runtime-grounds.ts"
import { createReadiness } from "../../machines/functions/code/readiness.ts"
import { bases, imageVersions } from "../../src/db/schema.ts"
import { registerHost } from "../../src/db/identity.ts"
import { openTestDatabase, type TestDatabase } from "../db/database.ts"
import { insertImageVersion } from "../db/image-version-row.ts"
import { definitionOf } from "../life/functions/ground.ts"

const { signal } = new AbortController()
const image = { account: "000000000000", region: "us-east-1", name: "python312" }
const arn = `arn:aws:lambda:${image.region}:${image.account}:microvm-image:${image.name}`

describe("A runtime of the operator's", () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await openTestDatabase()
    await registerHost(database.db, database.hostId, "here")
  })
  afterAll(() => database?.[Symbol.asyncDispose]())

  const open = (mapped: Record<string, string>) =>
    createRuntimeGrounds({
      db: database.db,
      hostId: database.hostId,
      places: { cacheDirectory: "/cache", dataDirectory: "/data" },
      runtimes: {
        of: (name) =>
          Promise.resolve({ rootDisk: "/root", rootDiskHash: "", runtimeDisk: `/drive/${name}`, runtimeDiskHash: "" }),
      },
      mapped,
    })

  test("stands on its image's latest version that is active, as long as there is one", async () => {
    const grounds = open({ "python3.12": arn })
    expect(["python3.12", "python3.13", "python3.10"].map(grounds.has)).toEqual([true, true, false])
    const untold = () => Promise.reject(new Error("It was begun"))
    const readiness = createReadiness(
      grounds,
      { fits: () => true, of: untold },
      { of: () => Promise.resolve({ code: "", layers: null, temporary: "" }), tidy: () => {} },
      untold,
      { deployed: () => {} },
    )
    const { settings, ...rest } = definitionOf("f")
    const owner = { ...rest, settings: { ...settings, runtime: "python3.12" } }
    const missing = `The runtime python3.12 is not available: its image ${arn} has no active version on this host.`
    await expect(grounds.of("python3.12", signal)).rejects.toThrow(missing)
    await expect(readiness.prepare(owner, signal)).rejects.toMatchObject({ code: "InvalidImage", message: missing })

    const { db, hostId } = database
    const baseId = randomUUID()
    await db.insert(bases).values({
      id: baseId,
      hostId,
      architecture: "x86_64",
      memoryMiB: 512,
      vcpus: 1,
      systemDisk: "cache:system",
      rootDisk: ["cache:root.raw", "data:layers/one.qcow2", "data:bases/two/root.qcow2"],
    })
    const { imageVersionId } = await insertImageVersion(db, image, { hostId, baseId })
    expect(await grounds.of("python3.12", signal)).toEqual({
      rootDisk: "/cache/root.raw",
      layers: ["/data/layers/one.qcow2", "/data/bases/two/root.qcow2"],
      runtimeDisk: "/drive/provided.al2023",
    })
    await readiness.prepare(owner, signal)
    await db.update(imageVersions).set({ status: "INACTIVE" }).where(eq(imageVersions.id, imageVersionId))
    await expect(grounds.of("python3.12", signal)).rejects.toThrow(missing)
  })

  test("is none of a name that is Torpor's own, nor of one that nobody has mapped", async () => {
    expect(() => open({ "python3.13": arn })).toThrow("functions.runtimes: python3.13 is a runtime of Torpor's own")
    await expect(open({}).of("cobol", signal)).rejects.toThrow("There is no runtime cobol")
  })
})
