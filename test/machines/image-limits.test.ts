import { randomUUID } from "node:crypto"
import { existsSync } from "node:fs"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { and, eq } from "drizzle-orm"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { keepBase } from "../../machines/building/kept-base.ts"
import { imageBuilds, images as imageRows, imageVersions } from "../../src/db/schema.ts"
import { baseRowOf } from "../db/base-row.ts"
import { caller, openImages, recipe, type ImagesUnderTest } from "./images-under-test.ts"

let under: ImagesUnderTest
beforeAll(async () => {
  under = await openImages()
})
afterAll(() => under[Symbol.asyncDispose]())

test("More builds than may run and wait are refused until one has ended, and leave nothing", async () => {
  under.begin()
  const create = (name: string) => under.images.create({ ...recipe, name, tags: {} }, caller)
  const answers = await Promise.allSettled(["one", "two", "three", "four"].map((name) => create(`many-${name}`)))
  const refused = answers.filter(({ status }) => status === "rejected")
  expect(refused).toHaveLength(2)
  expect(refused[0]).toMatchObject({
    reason: {
      code: "ServiceQuotaExceededException",
      status: 402,
      message: expect.stringContaining("try again when one has ended") as string,
    },
  })
  const made = ["one", "two", "three", "four"].filter((_, index) => answers[index]?.status === "fulfilled")
  under.building.resolve()
  for (const name of made) await under.untilState(`many-${name}`, "CREATED")
  for (const name of ["one", "two", "three", "four"]) if (!made.includes(name)) await create(`many-${name}`)
  for (const name of ["one", "two", "three", "four"]) await under.untilState(`many-${name}`, "CREATED")
})

describe("One too many", () => {
  const refusal = (message: string) => ({
    code: "ServiceQuotaExceededException",
    status: 402,
    message: expect.stringContaining(message) as string,
  })

  test("of an image's versions is refused, and leaves it as it was", async () => {
    await under.built("versions")
    for (const version of ["2.0", "3.0"]) {
      under.begin().resolve()
      await under.images.update("versions", recipe, caller)
      await under.untilState("versions", "UPDATED")
      expect((await under.images.get("versions", caller)).latestActiveVersion).toBe(version)
    }
    await expect(under.images.update("versions", recipe, caller)).rejects.toMatchObject(
      refusal("The image 'versions' has 3 versions, which is the limit"),
    )
    expect(await under.images.get("versions", caller)).toMatchObject({ state: "UPDATED", latestActiveVersion: "3.0" })
  })

  test("of an account's images is refused, whichever region they are in, but not a version of one that is there", async () => {
    const scoped = { ...caller, account: "111111111111", region: "eu-central-1" }
    const create = async (name: string, by = scoped) => {
      under.begin().resolve()
      await under.images.create({ ...recipe, name, tags: {} }, by)
      await under.untilState(name, "CREATED", by)
    }
    const { account, region } = scoped
    const others = Array.from({ length: 19 }, (_, n) => ({ id: randomUUID(), account, region, name: `other-${n}` }))
    await under.database.db.insert(imageRows).values(others.map((image) => ({ ...image, state: "CREATED" as const })))
    await create("image-1")
    await expect(create("image-2")).rejects.toMatchObject(refusal("20 MicroVM images, which is the limit"))
    await expect(under.images.get("image-2", scoped)).rejects.toThrow("not found")
    await expect(create("image-2", { ...scoped, region: "eu-west-1" })).rejects.toMatchObject(
      refusal("20 MicroVM images"),
    )
    under.begin().resolve()
    await under.images.update("image-1", recipe, scoped)
    await under.untilState("image-1", "UPDATED", scoped)
  })
})

describe("The bases of an account's images", () => {
  const baseOf = async (name: string, bytes: number) => {
    const { db, hostId } = under.database
    const [owner] = await db
      .select({ versionId: imageVersions.id, buildId: imageBuilds.id })
      .from(imageVersions)
      .innerJoin(imageRows, eq(imageRows.id, imageVersions.imageId))
      .innerJoin(imageBuilds, eq(imageBuilds.imageVersionId, imageVersions.id))
      .where(and(eq(imageRows.name, name), eq(imageRows.account, caller.account)))
    const directory = await mkdtemp(join(tmpdir(), "base-"))
    await writeFile(join(directory, "ram"), "")
    const row = baseRowOf({ hostId, rootDisk: ["cache:root"] })
    const more = { labels: {}, volumes: [], stopSignal: null, healthcheck: null, onBuild: [] }
    const settings = { argv: [], environment: {}, workingDirectory: "/", user: "root", exposedPorts: [], ...more }
    const base = { row, directory, rootDisk: ["root"], memoryBytes: bytes, codeBytes: 1, settings }
    return { directory, kept: keepBase(db, base, { account: caller.account, ...owner! }, { maxBasesBytes: 1000 }) }
  }

  test("have a limit: one that is too large is not kept, and once there is no room nothing is built", async () => {
    await under.built("small")
    const small = await baseOf("small", 900)
    expect(await small.kept).toEqual({ diskBytes: 0 })
    await under.built("large")
    const large = await baseOf("large", 101)
    await expect(large.kept).rejects.toThrow(/^The base takes 1 MiB, and this account has room for 1 MiB more/)
    expect([existsSync(small.directory), existsSync(large.directory)]).toEqual([true, false])
    const rest = await baseOf("large", 100)
    await rest.kept
    for (const { directory } of [small, rest]) await rm(directory, { recursive: true })
    await expect(under.images.create({ ...recipe, name: "beyond", tags: {} }, caller)).rejects.toMatchObject({
      code: "ServiceQuotaExceededException",
      message: expect.stringContaining("images.maxBasesMiB") as string,
    })
    await expect(under.images.get("beyond", caller)).rejects.toThrow("not found")
    const other = { ...caller, account: "222222222222" }
    under.begin().resolve()
    await under.images.create({ ...recipe, name: "beyond", tags: {} }, other)
    await under.untilState("beyond", "CREATED", other)
  })
})
