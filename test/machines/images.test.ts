import { randomUUID } from "node:crypto"
import { existsSync } from "node:fs"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { and, eq } from "drizzle-orm"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { pino } from "pino"
import { keepBase } from "../../machines/building/kept-base.ts"
import { createImageVersionMachine, type BuildVerbs } from "../../machines/image-version.ts"
import { saveImageVersion } from "../../machines/image-row.ts"
import { createImages } from "../../machines/images.ts"
import { createRegistry } from "../../machines/registry.ts"
import type { Images, RecipeRequest } from "../../machines/resources.ts"
import { registerHost } from "../../src/db/identity.ts"
import { logGroups, logs as logTable } from "../../src/db/logs.ts"
import { audit, imageBuilds, images as imageRows, imageVersions } from "../../src/db/schema.ts"
import type { LoggingTarget } from "../../src/db/values.ts"
import { createLogs } from "../../src/logs/logs.ts"
import { baseRowOf } from "../db/base-row.ts"
import { openTestDatabase, type TestDatabase } from "../db/database.ts"
import { eventually } from "../fixtures/eventually.ts"

const caller = { account: "000000000000", region: "us-east-1", accessKeyId: "AKIA", requestId: "request" }
const log = pino({ level: "silent" })
const recipe: RecipeRequest = {
  baseImageArn: "arn:aws:lambda:us-east-1:aws:microvm-image:debian-13",
  baseImageVersion: undefined,
  buildRoleArn: "arn:aws:iam::000000000000:role/build",
  codeArtifactUri: "s3://bucket/app.zip",
  memoryMiB: 512,
  environment: { KEY: "value" },
  settings: {
    description: null,
    logging: null,
    egressConnectors: [],
    architectures: null,
    capabilities: "default",
    additionalCapabilities: null,
  },
  clientToken: undefined,
}

let database: TestDatabase
let images: Images
/** How the next build ends; a build goes on until somebody says. */
let building: PromiseWithResolvers<void>
let close: () => Promise<void>
beforeAll(async () => {
  database = await openTestDatabase()
  const { db, hostId } = database
  await registerHost(db, hostId, "test")
  const limits = { bytesPerLog: 1e6, bytesPerGroup: 1e6, bytesPerHost: 1e6, days: 1 }
  const logs = createLogs({ db, hostId, limits, log })
  const done = () => Promise.resolve()
  const verbs: BuildVerbs = {
    queue: done,
    fetch: done,
    build: () => building.promise,
    start: done,
    capture: done,
    clean: done,
  }
  const registry = createRegistry(
    {
      name: "image-version",
      machine: createImageVersionMachine(verbs),
      save: (id, generation, snapshot, persisted) =>
        db.transaction((tx) => saveImageVersion(tx, id, generation, snapshot, persisted)),
    },
    log,
  )
  const secrets = { seal: (text: string) => Buffer.from(text), open: (sealed: Buffer) => sealed.toString() }
  images = createImages({
    db,
    hostId,
    architecture: "x86_64",
    quota: { maxUnfinished: 2, maxImages: 20, maxVersions: 3, maxBasesBytes: 1000 },
    registry,
    secrets,
    logs,
  })
  close = async () => {
    await registry.close()
    await logs[Symbol.asyncDispose]()
  }
})
afterAll(async () => {
  await close()
  await database[Symbol.asyncDispose]()
})

const begin = () => (building = Promise.withResolvers<void>())
const untilState = (name: string, wanted: string, by = caller) =>
  eventually(
    async () => {
      const image = await images.get(name, by)
      expect(image.state).toBe(wanted)
      return image
    },
    { interval: 5 },
  )
const built = async (name: string) => {
  begin().resolve()
  await images.create({ ...recipe, name, tags: {} }, caller)
  await untilState(name, "CREATED")
}

describe("A build that is cancelled", () => {
  const buildIdOf = async (name: string, version: string) =>
    (await images.listBuilds(name, version, { limit: 1, after: undefined }, caller)).items[0]!.id

  test("has failed by whom, and another can't be cancelled once it has ended", async () => {
    begin()
    await images.create({ ...recipe, name: "given-up", tags: {} }, caller)
    const id = await buildIdOf("given-up", "1.0")
    await expect(images.cancelBuild(id, { ...caller, account: "111111111111" })).rejects.toThrow("Build not found")
    await images.cancelBuild(id, caller)
    await untilState("given-up", "CREATE_FAILED")
    expect(await images.getBuild("given-up", "1.0", id, caller)).toMatchObject({
      state: "FAILED",
      stateReason: "The build was cancelled by AKIA.",
    })
    await expect(images.cancelBuild(id, caller)).rejects.toThrow("The build has ended already: FAILED")
    const told = (await database.db.select().from(audit)).filter(
      ({ action, resource }) => action === "microvm-image-version.failed" && resource.endsWith(":given-up"),
    )
    expect(told).toMatchObject([{ cause: "api", actor: "AKIA", requestId: "request" }])
    building.resolve()
  })

  test("tells how it has ended to who waits for that, and nothing before", async () => {
    begin()
    await images.create({ ...recipe, name: "awaited", tags: {} }, caller)
    const id = await buildIdOf("awaited", "1.0")
    expect(await images.buildEnd(id, undefined, caller)).toBeUndefined()
    const ended = images.buildEnd(id, new AbortController().signal, caller)
    const impatient = new AbortController()
    const left = images.buildEnd(id, impatient.signal, caller)
    impatient.abort(new Error("enough"))
    await expect(left).rejects.toThrow()
    await images.cancelBuild(id, caller)
    building.resolve()
    const end = { state: "FAILED", reason: "The build was cancelled by AKIA." }
    expect(await ended).toEqual(end)
    expect(await images.buildEnd(id, undefined, caller)).toEqual(end)
    await expect(images.buildEnd(id, undefined, { ...caller, account: "111111111111" })).rejects.toThrow("not found")
  })

  test("was never there: not found", async () => {
    await expect(images.cancelBuild(crypto.randomUUID(), caller)).rejects.toThrow("Build not found")
  })
})

describe("An image that is updated", () => {
  test("has its next version when that is built, and the one before until then", async () => {
    await built("app")
    begin()
    const { image, version } = await images.update("app", { ...recipe, memoryMiB: 1024 }, caller)
    expect(image).toMatchObject({ state: "UPDATING", latestActiveVersion: "1.0" })
    expect(version).toMatchObject({ version: "2.0", memoryMiB: 1024, state: "PENDING", environment: { KEY: "value" } })
    await expect(images.update("app", recipe, caller)).rejects.toThrow("MicroVM Image is already in state: UPDATING")
    building.resolve()
    expect(await untilState("app", "UPDATED")).toMatchObject({ latestActiveVersion: "2.0", latestFailedVersion: null })
    expect(await images.getVersion("app", "1.0", caller)).toMatchObject({ state: "SUCCESSFUL", memoryMiB: 512 })
  })

  test("keeps the version that it has when the next one can't be built, and counts on from there", async () => {
    await built("stays")
    begin()
    await images.update("stays", recipe, caller)
    building.reject(new Error("no"))
    expect(await untilState("stays", "UPDATE_FAILED")).toMatchObject({
      latestActiveVersion: "1.0",
      latestFailedVersion: "2.0",
    })
    begin().resolve()
    expect((await images.update("stays", recipe, caller)).version.version).toBe("3.0")
    expect((await untilState("stays", "UPDATED")).latestActiveVersion).toBe("3.0")
  })

  test("by two at once has one of them refused", async () => {
    await built("raced")
    begin()
    const both = await Promise.allSettled([1, 2].map(() => images.update("raced", recipe, caller)))
    expect(both.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"])
    building.resolve()
    await untilState("raced", "UPDATED")
  })

  test("with a token answers the same again, and refuses it for something else", async () => {
    await built("token")
    begin().resolve()
    const first = await images.update("token", { ...recipe, clientToken: "t" }, caller)
    await untilState("token", "UPDATED")
    expect((await images.update("token", { ...recipe, clientToken: "t" }, caller)).version.version).toBe(
      first.version.version,
    )
    await expect(images.update("token", { ...recipe, memoryMiB: 2048, clientToken: "t" }, caller)).rejects.toThrow(
      "already used for a request with other parameters",
    )
  })

  test("isn't there, or is somebody else's, is not found", async () => {
    await expect(images.update("none", recipe, caller)).rejects.toThrow("MicroVMImage not found")
    await expect(images.update("app", recipe, { ...caller, account: "111111111111" })).rejects.toThrow(
      "MicroVMImage not found",
    )
  })

  test("tells of it in the audit log, by whom", async () => {
    const rows = await database.db.select().from(audit)
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
    begin().resolve()
    await images.create({ ...recipe, name, tags: {}, settings: { ...recipe.settings, logging } }, caller)
    await untilState(name, "CREATED")
    const id = (await images.listBuilds(name, "1.0", { limit: 1, after: undefined }, caller)).items[0]!.id
    const [row] = await database.db
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

test("More builds than may run and wait are refused until one has ended, and leave nothing", async () => {
  begin()
  const create = (name: string) => images.create({ ...recipe, name, tags: {} }, caller)
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
  building.resolve()
  for (const name of made) await untilState(`many-${name}`, "CREATED")
  for (const name of ["one", "two", "three", "four"]) if (!made.includes(name)) await create(`many-${name}`)
  for (const name of ["one", "two", "three", "four"]) await untilState(`many-${name}`, "CREATED")
})

describe("A version that failed", () => {
  const fail = async (name: string) => {
    begin()
    const { version } = await images.update(name, { ...recipe, clientToken: randomUUID() }, caller)
    building.reject(new Error("no"))
    await untilState(name, "UPDATE_FAILED")
    return version.version
  }
  const versionsOf = async (name: string) =>
    (await images.listVersions(name, { limit: 50, after: undefined }, caller)).items.map(({ version }) => version)

  test("can be deleted, is nowhere any more, makes room for others, and its number is given to none", async () => {
    await built("room")
    const failed = [await fail("room"), await fail("room")]
    await expect(images.update("room", recipe, caller)).rejects.toThrow("delete those that failed")
    const buildId = (await images.listBuilds("room", "3.0", { limit: 1, after: undefined }, caller)).items[0]!.id
    await images.removeVersion("room", "3.0", caller)
    expect([failed, await versionsOf("room")]).toEqual([
      ["2.0", "3.0"],
      ["2.0", "1.0"],
    ])
    expect(await images.get("room", caller)).toMatchObject({ latestActiveVersion: "1.0", latestFailedVersion: "2.0" })
    for (const gone of [
      () => images.getVersion("room", "3.0", caller),
      () => images.removeVersion("room", "3.0", caller),
      () => images.buildEnd(buildId, undefined, caller),
    ])
      await expect(gone()).rejects.toThrow("not found")
    await images.removeVersion("room", "2.0", caller)
    expect(await images.get("room", caller)).toMatchObject({ latestFailedVersion: null })
    begin().resolve()
    expect((await images.update("room", recipe, caller)).version.version).toBe("4.0")
    await untilState("room", "UPDATED")
    const told = (await database.db.select().from(audit).orderBy(audit.id)).filter(
      ({ action, resource }) => action === "microvm-image-version.deleted" && resource.endsWith(":room"),
    )
    expect(told).toMatchObject([
      { actor: "AKIA", details: { version: "3.0" } },
      { actor: "AKIA", details: { version: "2.0" } },
    ])
  })

  test("and what is no such version stays: one that was built, one that is being built, and an image's only one", async () => {
    await built("whole")
    await fail("whole")
    await expect(images.removeVersion("whole", "1.0", caller)).rejects.toMatchObject({
      code: "UnsupportedOperationException",
      status: 400,
    })
    await expect(images.removeVersion("whole", "2.0", { ...caller, region: "eu-west-1" })).rejects.toThrow("not found")
    begin()
    await images.update("whole", recipe, caller)
    for (const version of ["2.0", "3.0"])
      await expect(images.removeVersion("whole", version, caller)).rejects.toThrow("already in state: UPDATING")
    building.resolve()
    await untilState("whole", "UPDATED")
    expect(await versionsOf("whole")).toEqual(["3.0", "2.0", "1.0"])
    begin()
    await images.create({ ...recipe, name: "only", tags: {} }, caller)
    building.reject(new Error("no"))
    await untilState("only", "CREATE_FAILED")
    await expect(images.removeVersion("only", "1.0", caller)).rejects.toThrow("the only version")
  })
})

describe("One too many", () => {
  const refusal = (message: string) => ({
    code: "ServiceQuotaExceededException",
    status: 402,
    message: expect.stringContaining(message) as string,
  })

  test("of an image's versions is refused, and leaves it as it was", async () => {
    await built("versions")
    for (const version of ["2.0", "3.0"]) {
      begin().resolve()
      await images.update("versions", recipe, caller)
      await untilState("versions", "UPDATED")
      expect((await images.get("versions", caller)).latestActiveVersion).toBe(version)
    }
    await expect(images.update("versions", recipe, caller)).rejects.toMatchObject(
      refusal("The image 'versions' has 3 versions, which is the limit"),
    )
    expect(await images.get("versions", caller)).toMatchObject({ state: "UPDATED", latestActiveVersion: "3.0" })
  })

  test("of an account's images is refused, whichever region they are in, but not a version of one that is there", async () => {
    const scoped = { ...caller, account: "111111111111", region: "eu-central-1" }
    const create = async (name: string, by = scoped) => {
      begin().resolve()
      await images.create({ ...recipe, name, tags: {} }, by)
      await untilState(name, "CREATED", by)
    }
    const { account, region } = scoped
    const others = Array.from({ length: 19 }, (_, n) => ({ id: randomUUID(), account, region, name: `other-${n}` }))
    await database.db.insert(imageRows).values(others.map((image) => ({ ...image, state: "CREATED" as const })))
    await create("image-1")
    await expect(create("image-2")).rejects.toMatchObject(refusal("20 MicroVM images, which is the limit"))
    await expect(images.get("image-2", scoped)).rejects.toThrow("not found")
    await expect(create("image-2", { ...scoped, region: "eu-west-1" })).rejects.toMatchObject(
      refusal("20 MicroVM images"),
    )
    begin().resolve()
    await images.update("image-1", recipe, scoped)
    await untilState("image-1", "UPDATED", scoped)
  })
})

describe("The bases of an account's images", () => {
  const baseOf = async (name: string, bytes: number) => {
    const { db, hostId } = database
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
    await built("small")
    const small = await baseOf("small", 900)
    expect(await small.kept).toEqual({ diskBytes: 0 })
    await built("large")
    const large = await baseOf("large", 101)
    await expect(large.kept).rejects.toThrow(/^The base takes 1 MiB, and this account has room for 1 MiB more/)
    expect([existsSync(small.directory), existsSync(large.directory)]).toEqual([true, false])
    const rest = await baseOf("large", 100)
    await rest.kept
    for (const { directory } of [small, rest]) await rm(directory, { recursive: true })
    await expect(images.create({ ...recipe, name: "beyond", tags: {} }, caller)).rejects.toMatchObject({
      code: "ServiceQuotaExceededException",
      message: expect.stringContaining("images.maxBasesMiB") as string,
    })
    await expect(images.get("beyond", caller)).rejects.toThrow("not found")
    const other = { ...caller, account: "222222222222" }
    begin().resolve()
    await images.create({ ...recipe, name: "beyond", tags: {} }, other)
    await untilState("beyond", "CREATED", other)
  })
})
