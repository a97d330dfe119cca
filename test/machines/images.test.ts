import { randomUUID } from "node:crypto"
import { eq } from "drizzle-orm"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { logGroups, logs as logTable } from "../../src/db/logs.ts"
import { audit } from "../../src/db/schema.ts"
import type { LoggingTarget } from "../../src/db/values.ts"
import { caller, openImages, recipe, type ImagesUnderTest } from "./images-under-test.ts"

let under: ImagesUnderTest
beforeAll(async () => {
  under = await openImages()
})
afterAll(() => under[Symbol.asyncDispose]())

describe("A build that is cancelled", () => {
  const buildIdOf = async (name: string, version: string) =>
    (await under.images.listBuilds(name, version, { limit: 1, after: undefined }, caller)).items[0]!.id

  test("has failed by whom, and another can't be cancelled once it has ended", async () => {
    under.begin()
    await under.images.create({ ...recipe, name: "given-up", tags: {} }, caller)
    const id = await buildIdOf("given-up", "1.0")
    await expect(under.images.cancelBuild(id, { ...caller, account: "111111111111" })).rejects.toThrow(
      "Build not found",
    )
    await under.images.cancelBuild(id, caller)
    await under.untilState("given-up", "CREATE_FAILED")
    expect(await under.images.getBuild("given-up", "1.0", id, caller)).toMatchObject({
      state: "FAILED",
      stateReason: "The build was cancelled by AKIA.",
    })
    await expect(under.images.cancelBuild(id, caller)).rejects.toThrow("The build has ended already: FAILED")
    const told = (await under.database.db.select().from(audit)).filter(
      ({ action, resource }) => action === "microvm-image-version.failed" && resource.endsWith(":given-up"),
    )
    expect(told).toMatchObject([{ cause: "api", actor: "AKIA", requestId: "request" }])
    under.building.resolve()
  })

  test("tells how it has ended to who waits for that, and nothing before", async () => {
    under.begin()
    await under.images.create({ ...recipe, name: "awaited", tags: {} }, caller)
    const id = await buildIdOf("awaited", "1.0")
    expect(await under.images.buildEnd(id, undefined, caller)).toBeUndefined()
    const ended = under.images.buildEnd(id, new AbortController().signal, caller)
    const impatient = new AbortController()
    const left = under.images.buildEnd(id, impatient.signal, caller)
    impatient.abort(new Error("enough"))
    await expect(left).rejects.toThrow()
    await under.images.cancelBuild(id, caller)
    under.building.resolve()
    const end = { state: "FAILED", reason: "The build was cancelled by AKIA." }
    expect(await ended).toEqual(end)
    expect(await under.images.buildEnd(id, undefined, caller)).toEqual(end)
    await expect(under.images.buildEnd(id, undefined, { ...caller, account: "111111111111" })).rejects.toThrow(
      "not found",
    )
  })

  test("was never there: not found", async () => {
    await expect(under.images.cancelBuild(crypto.randomUUID(), caller)).rejects.toThrow("Build not found")
  })
})

describe("An image that is updated", () => {
  test("has its next version when that is built, and the one before until then", async () => {
    await under.built("app")
    under.begin()
    const { image, version } = await under.images.update("app", { ...recipe, memoryMiB: 1024 }, caller)
    expect(image).toMatchObject({ state: "UPDATING", latestActiveVersion: "1.0" })
    expect(version).toMatchObject({ version: "2.0", memoryMiB: 1024, state: "PENDING", environment: { KEY: "value" } })
    await expect(under.images.update("app", recipe, caller)).rejects.toThrow(
      "MicroVM Image is already in state: UPDATING",
    )
    under.building.resolve()
    expect(await under.untilState("app", "UPDATED")).toMatchObject({
      latestActiveVersion: "2.0",
      latestFailedVersion: null,
    })
    expect(await under.images.getVersion("app", "1.0", caller)).toMatchObject({ state: "SUCCESSFUL", memoryMiB: 512 })
  })

  test("keeps the version that it has when the next one can't be built, and counts on from there", async () => {
    await under.built("stays")
    under.begin()
    await under.images.update("stays", recipe, caller)
    under.building.reject(new Error("no"))
    expect(await under.untilState("stays", "UPDATE_FAILED")).toMatchObject({
      latestActiveVersion: "1.0",
      latestFailedVersion: "2.0",
    })
    under.begin().resolve()
    expect((await under.images.update("stays", recipe, caller)).version.version).toBe("3.0")
    expect((await under.untilState("stays", "UPDATED")).latestActiveVersion).toBe("3.0")
  })

  test("by two at once has one of them refused", async () => {
    await under.built("raced")
    under.begin()
    const both = await Promise.allSettled([1, 2].map(() => under.images.update("raced", recipe, caller)))
    expect(both.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"])
    under.building.resolve()
    await under.untilState("raced", "UPDATED")
  })

  test("with a token answers the same again, and refuses it for something else", async () => {
    await under.built("token")
    under.begin().resolve()
    const first = await under.images.update("token", { ...recipe, clientToken: "t" }, caller)
    await under.untilState("token", "UPDATED")
    expect((await under.images.update("token", { ...recipe, clientToken: "t" }, caller)).version.version).toBe(
      first.version.version,
    )
    await expect(
      under.images.update("token", { ...recipe, memoryMiB: 2048, clientToken: "t" }, caller),
    ).rejects.toThrow("already used for a request with other parameters")
  })

  test("isn't there, or is somebody else's, is not found", async () => {
    await expect(under.images.update("none", recipe, caller)).rejects.toThrow("MicroVMImage not found")
    await expect(under.images.update("app", recipe, { ...caller, account: "111111111111" })).rejects.toThrow(
      "MicroVMImage not found",
    )
  })

  test("tells of it in the audit log, by whom", async () => {
    const rows = await under.database.db.select().from(audit)
    expect(rows).toEqual(
      expect.arrayContaining([
        expect.objectContaining({
          action: "microvm-image.updating",
          actor: "AKIA",
          cause: "api",
          details: { version: "2.0", codeArtifact: "s3://bucket/app.zip" },
        }),
      ]),
    )
  })
})

test("A build's log is in its image's group, or where its author wants it, or nowhere", async () => {
  const placeOf = async (name: string, logging: LoggingTarget | null) => {
    under.begin().resolve()
    await under.images.create({ ...recipe, name, tags: {}, settings: { ...recipe.settings, logging } }, caller)
    await under.untilState(name, "CREATED")
    const id = (await under.images.listBuilds(name, "1.0", { limit: 1, after: undefined }, caller)).items[0]!.id
    const [row] = await under.database.db
      .select({ account: logGroups.account, region: logGroups.region, group: logGroups.name, stream: logTable.stream })
      .from(logTable)
      .innerJoin(logGroups, eq(logGroups.id, logTable.groupId))
      .where(eq(logTable.id, id))
    return row === undefined ? undefined : { ...row, stream: row.stream.replace(id, "BUILD") }
  }
  const { account, region } = caller
  expect(await placeOf("usual", null)).toEqual({
    account,
    region,
    group: "/aws/lambda-microvms/usual",
    stream: expect.stringMatching(/^\d{4}\/\d\d\/\d\d\[0\.0\]BUILD$/) as string,
  })
  const mine = { kind: "group", group: "/mine", stream: "builds" } as const
  expect(await placeOf("elsewhere", mine)).toEqual({ account, region, group: "/mine", stream: "builds" })
  expect(await placeOf("silent", { kind: "disabled" })).toBeUndefined()
})

describe("A version that failed", () => {
  const fail = async (name: string) => {
    under.begin()
    const { version } = await under.images.update(name, { ...recipe, clientToken: randomUUID() }, caller)
    under.building.reject(new Error("no"))
    await under.untilState(name, "UPDATE_FAILED")
    return version.version
  }
  const versionsOf = async (name: string) =>
    (await under.images.listVersions(name, { limit: 50, after: undefined }, caller)).items.map(({ version }) => version)

  test("can be deleted, is nowhere any more, makes room for others, and its number is given to none", async () => {
    await under.built("room")
    const failed = [await fail("room"), await fail("room")]
    await expect(under.images.update("room", recipe, caller)).rejects.toThrow("delete some (DeleteMicrovmImageVersion)")
    const buildId = (await under.images.listBuilds("room", "3.0", { limit: 1, after: undefined }, caller)).items[0]!.id
    await under.images.removeVersion("room", "3.0", caller)
    expect([failed, await versionsOf("room")]).toEqual([
      ["2.0", "3.0"],
      ["2.0", "1.0"],
    ])
    expect(await under.images.get("room", caller)).toMatchObject({
      latestActiveVersion: "1.0",
      latestFailedVersion: "2.0",
    })
    for (const gone of [
      () => under.images.getVersion("room", "3.0", caller),
      () => under.images.removeVersion("room", "3.0", caller),
      () => under.images.buildEnd(buildId, undefined, caller),
    ])
      await expect(gone()).rejects.toThrow("not found")
    await under.images.removeVersion("room", "2.0", caller)
    expect(await under.images.get("room", caller)).toMatchObject({ latestFailedVersion: null })
    under.begin().resolve()
    expect((await under.images.update("room", recipe, caller)).version.version).toBe("4.0")
    await under.untilState("room", "UPDATED")
    const told = (await under.database.db.select().from(audit).orderBy(audit.id)).filter(
      ({ action, resource }) => action === "microvm-image-version.deleted" && resource.endsWith(":room"),
    )
    expect(told).toMatchObject([
      { actor: "AKIA", details: { version: "3.0" } },
      { actor: "AKIA", details: { version: "2.0" } },
    ])
  })

  test("and what cannot go yet stays: a version while another is being built, and an image's only one", async () => {
    await under.built("whole")
    await fail("whole")
    await expect(under.images.removeVersion("whole", "2.0", { ...caller, region: "eu-west-1" })).rejects.toThrow(
      "not found",
    )
    under.begin()
    await under.images.update("whole", recipe, caller)
    for (const version of ["2.0", "3.0"])
      await expect(under.images.removeVersion("whole", version, caller)).rejects.toThrow("already in state: UPDATING")
    under.building.resolve()
    await under.untilState("whole", "UPDATED")
    expect(await versionsOf("whole")).toEqual(["3.0", "2.0", "1.0"])
    under.begin()
    await under.images.create({ ...recipe, name: "only", tags: {} }, caller)
    under.building.reject(new Error("no"))
    await under.untilState("only", "CREATE_FAILED")
    await expect(under.images.removeVersion("only", "1.0", caller)).rejects.toThrow("the only version")
  })
})
