import { randomUUID } from "node:crypto"
import { mkdir, readdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { and, eq } from "drizzle-orm"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { removeLeftBases } from "../../machines/unused-bases.ts"
import { audit, bases, imageBuilds, images, imageVersions, microvms, vms } from "../../src/db/schema.ts"
import type { MicrovmState } from "../../src/db/values.ts"
import { insertBase } from "../db/base-row.ts"
import { caller, openImages, recipe, type ImagesUnderTest } from "./images-under-test.ts"

let under: ImagesUnderTest
beforeAll(async () => {
  under = await openImages()
})
afterAll(() => under[Symbol.asyncDispose]())

const find = async (name: string, version: string) => {
  const [found] = await under.database.db
    .select({ imageId: images.id, versionId: imageVersions.id, baseId: imageVersions.baseId })
    .from(imageVersions)
    .innerJoin(images, eq(images.id, imageVersions.imageId))
    .where(and(eq(images.name, name), eq(imageVersions.version, version)))
  if (found === undefined) throw new Error(`There is no ${name} ${version}`)
  return found
}

/** Gives a version what its build would have made. Resolves with the base's id. */
const putBase = async (name: string, version: string) => {
  const { db, hostId } = under.database
  const id = await insertBase(db, { hostId })
  await mkdir(join(under.dataDirectory, "bases", id), { recursive: true })
  await writeFile(join(under.dataDirectory, "bases", id, "ram"), "memory")
  const { versionId } = await find(name, version)
  await db.update(imageVersions).set({ baseId: id }).where(eq(imageVersions.id, versionId))
  return id
}

/** A MicroVM's rows, as running it makes them. */
const putMicrovm = async (name: string, version: string, state: MicrovmState) => {
  const { db, hostId } = under.database
  const { imageId, versionId, baseId } = await find(name, version)
  const [id, vmId] = [randomUUID(), randomUUID()]
  await db.insert(vms).values({ id: vmId, hostId, baseId, kind: "microvm", memoryMiB: 512, vcpus: 1 })
  await db.insert(microvms).values({
    id,
    vmId,
    hostId,
    account: caller.account,
    region: caller.region,
    imageId,
    imageName: name,
    imageVersionId: versionId,
    imageVersion: version,
    endpointId: randomUUID(),
    state,
    cause: "api",
    maximumDurationSeconds: 60,
    ingressConnectors: [],
    egressConnectors: [],
    startedAt: new Date(),
    deadlineAt: new Date(),
    machineVersion: 1,
  })
  const end = async () => {
    await db.update(microvms).set({ state: "TERMINATED", terminatedAt: new Date() }).where(eq(microvms.id, id))
    await db.update(vms).set({ endedAt: new Date() }).where(eq(vms.id, vmId))
  }
  return { id, end }
}

const update = async (name: string) => {
  under.begin().resolve()
  await under.images.update(name, { ...recipe, clientToken: randomUUID() }, caller)
  await under.untilState(name, "UPDATED")
}
const files = async () => (await readdir(join(under.dataDirectory, "bases"))).toSorted()
const rowOf = async (id: string) => (await under.database.db.select().from(bases).where(eq(bases.id, id))).length
const toldOf = async (name: string, type: string) =>
  (await under.database.db.select().from(audit).where(eq(audit.action, type))).filter(({ resource }) =>
    resource.endsWith(`:${name}`),
  )

describe("A version that was built", () => {
  test("goes with its base and its builds, and the one before is the active one again", async () => {
    await under.built("api")
    await update("api")
    const [first, second] = [await putBase("api", "1.0"), await putBase("api", "2.0")]
    const { versionId } = await find("api", "2.0")
    await under.images.removeVersion("api", "2.0", caller)
    expect(await under.images.get("api", caller)).toMatchObject({ latestActiveVersion: "1.0", state: "UPDATED" })
    await expect(under.images.getVersion("api", "2.0", caller)).rejects.toThrow("not found")
    expect(await files()).toContain(first)
    expect(await files()).not.toContain(second)
    expect(await rowOf(second)).toBe(0)
    expect(await under.database.db.select().from(imageBuilds).where(eq(imageBuilds.imageVersionId, versionId))).toEqual(
      [],
    )
    await expect(under.images.removeVersion("api", "1.0", caller)).rejects.toThrow("the only version")
    expect(await toldOf("api", "microvm-image-version.deleted")).toMatchObject([
      { actor: "AKIA", cause: "api", details: { version: "2.0" } },
    ])
  })

  test("leaves what its MicroVMs stand on until the last of them has ended", async () => {
    await under.built("used")
    await update("used")
    const base = await putBase("used", "1.0")
    const [one, other] = [await putMicrovm("used", "1.0", "RUNNING"), await putMicrovm("used", "1.0", "SUSPENDED")]
    await under.images.removeVersion("used", "1.0", caller)
    await expect(under.images.getVersion("used", "1.0", caller)).rejects.toThrow("not found")
    const host = { ...under.database, dataDirectory: under.dataDirectory }
    for (const { end } of [one, other]) {
      await removeLeftBases(host)
      expect(await files()).toContain(base)
      expect(await rowOf(base)).toBe(1)
      await end()
    }
    await removeLeftBases(host)
    expect(await files()).not.toContain(base)
    expect(await rowOf(base)).toBe(0)
    expect(await under.database.db.select().from(microvms).where(eq(microvms.id, one.id))).toMatchObject([
      { imageName: "used", imageVersion: "1.0", imageVersionId: null },
    ])
  })
})

describe("An image", () => {
  test("is deleted with all its versions once its MicroVMs have ended, and its name and client token are free", async () => {
    const request = { ...recipe, name: "whole", tags: {}, clientToken: randomUUID() }
    under.begin().resolve()
    await under.images.create(request, caller)
    await under.untilState("whole", "CREATED")
    await update("whole")
    const gone = [await putBase("whole", "1.0"), await putBase("whole", "2.0")]
    await under.built("beside")
    const beside = await putBase("beside", "1.0")
    const lives = [await putMicrovm("whole", "1.0", "SUSPENDED"), await putMicrovm("whole", "2.0", "PENDING")]
    // Also one whose version has gone is the image's.
    await under.images.removeVersion("whole", "1.0", caller)
    for (const { end } of lives) {
      await expect(under.images.remove("whole", caller)).rejects.toMatchObject({
        code: "ValidationException",
        status: 400,
        message: "Cannot delete microvm image with running microvms.",
      })
      await end()
    }
    await under.images.remove("whole", caller)
    expect(await files()).toContain(beside)
    for (const base of gone) expect(await files()).not.toContain(base)
    for (const asked of [
      () => under.images.get("whole", caller),
      () => under.images.remove("whole", caller),
      () => under.images.listVersions("whole", { limit: 1, after: undefined }, caller),
    ])
      await expect(asked()).rejects.toMatchObject({ status: 404 })
    expect(await toldOf("whole", "microvm-image.deleted")).toMatchObject([
      { actor: "AKIA", cause: "api", details: { versions: ["2.0"] } },
    ])
    under.begin().resolve()
    expect((await under.images.create(request, caller)).version.version).toBe("1.0")
    await under.untilState("whole", "CREATED")
  })

  test("that is being built stays, and nobody else's is there to be deleted", async () => {
    under.begin()
    await under.images.create({ ...recipe, name: "early", tags: {} }, caller)
    await expect(under.images.remove("early", caller)).rejects.toMatchObject({
      code: "ValidationException",
      message: "Cannot delete MicroVM image in its current state: CREATING",
    })
    under.building.resolve()
    await under.untilState("early", "CREATED")
    under.begin()
    await under.images.update("early", recipe, caller)
    await expect(under.images.remove("early", caller)).rejects.toThrow("in its current state: UPDATING")
    under.building.reject(new Error("no"))
    await under.untilState("early", "UPDATE_FAILED")
    for (const other of [
      { ...caller, region: "eu-west-1" },
      { ...caller, account: "111111111111" },
    ])
      await expect(under.images.remove("early", other)).rejects.toMatchObject({ status: 404 })
    await under.images.remove("early", caller)
    await expect(under.images.get("early", caller)).rejects.toMatchObject({ status: 404 })
  })
})

test("Images are listed by name, page by page, an account's of a region alone", async () => {
  const scope = { ...caller, account: "222222222222" }
  for (const name of ["c", "a", "b"]) {
    under.begin().resolve()
    await under.images.create({ ...recipe, name, tags: {} }, scope)
    await under.untilState(name, "CREATED", scope)
  }
  const namesOf = async (after: string | undefined, by = scope) => {
    const { items, next } = await under.images.list({ limit: 2, after }, by)
    return [...items.map(({ name }) => name), next]
  }
  expect(await namesOf(undefined)).toEqual(["a", "b", "b"])
  await under.images.remove("b", scope)
  expect(await namesOf("b")).toEqual(["c", undefined])
  expect(await namesOf(undefined)).toEqual(["a", "c", undefined])
  expect(await namesOf(undefined, { ...scope, region: "eu-west-1" })).toEqual([undefined])
})
