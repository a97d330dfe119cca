/** That every change of a resource has its audit and outbox rows, in the change's own transaction: real rows, statecharts and database, without a VM. */
import { randomBytes, randomUUID } from "node:crypto"
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { asc, eq, sql } from "drizzle-orm"
import { pino } from "pino"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { createImages } from "../../machines/images/images.ts"
import { saveImageVersion } from "../../machines/images/image-row.ts"
import { createImageVersionMachine, type BuildVerbs } from "../../machines/image-version.ts"
import { saveMicrovm } from "../../machines/microvms/microvm-row.ts"
import { createMicrovmMachine } from "../../machines/microvm.ts"
import { createMicrovms } from "../../machines/microvms/microvms.ts"
import { createRegistry } from "../../machines/registry.ts"
import type { Caller, ImageRequest, Images, Microvms, RunRequest } from "../../machines/resources.ts"
import { createLedger } from "../../src/capacity/ledger.ts"
import { registerHost } from "../../src/db/identity.ts"
import { audit, imageVersions, microvms as microvmRows, outbox } from "../../src/db/schema.ts"
import { createLogs } from "../../src/logs/logs.ts"
import { createSecrets } from "../../src/secrets.ts"
import { eventually } from "../fixtures/eventually.ts"
import { createSimulatedHost } from "../machines/simulated-host.ts"
import { insertBase } from "./base-row.ts"
import { openTestDatabase, type TestDatabase } from "./database.ts"

const scope = { account: "000000000000", region: "us-east-1" }
const arn = (rest: string) => `arn:aws:lambda:us-east-1:000000000000:${rest}`
const complaints: string[] = []
const log = pino({ level: "warn" }, { write: (line: string) => void complaints.push(line) })
const host = createSimulatedHost()
let database: TestDatabase
let images: Images
let microvms: Microvms
let cacheDirectory: string
let buildFailure: Error | undefined
const opened = new AsyncDisposableStack()

const caller = (): Caller => ({ ...scope, accessKeyId: "AKIATEST", requestId: randomUUID() })
const imageRequest = (name: string): ImageRequest => ({
  name,
  baseImageArn: "arn:aws:lambda:us-east-1:aws:microvm-image:debian-13",
  baseImageVersion: undefined,
  buildRoleArn: "arn:aws:iam::000000000000:role/build",
  codeArtifactUri: "s3://apps/app.zip",
  memoryMiB: 512,
  environment: { SECRET: "hunter2" },
  settings: {
    description: null,
    logging: null,
    egressConnectors: [],
    architectures: null,
    capabilities: "default",
    additionalCapabilities: null,
  },
  tags: {},
  clientToken: undefined,
})
const runRequest = (over: Partial<RunRequest> = {}): RunRequest => ({
  imageName: "app",
  imageVersion: undefined,
  idlePolicy: null,
  maximumDurationSeconds: 3600,
  executionRoleArn: null,
  ingressConnectors: [],
  egressConnectors: [],
  logging: null,
  clientToken: undefined,
  ...over,
})

beforeAll(async () => {
  database = opened.use(await openTestDatabase())
  const { db, hostId } = database
  await registerHost(db, hostId, "test")
  cacheDirectory = await mkdtemp(join(tmpdir(), "torpor-audit-"))
  opened.defer(() => rm(cacheDirectory, { recursive: true }))
  for (const disk of ["system", "root"]) await writeFile(join(cacheDirectory, disk), "")
  const nothing = () => Promise.resolve()
  const verbs: BuildVerbs = {
    queue: nothing,
    fetch: () => (buildFailure === undefined ? Promise.resolve() : Promise.reject(buildFailure)),
    build: nothing,
    start: nothing,
    async capture(id) {
      const baseId = await insertBase(db, { hostId, rootDisk: ["cache:root"] })
      await db.update(imageVersions).set({ baseId }).where(eq(imageVersions.id, id))
    },
    clean: nothing,
  }
  const versions = createRegistry(
    {
      name: "image-version",
      machine: createImageVersionMachine(verbs),
      save: (id, generation, snapshot, persisted) =>
        db.transaction((tx) => saveImageVersion(tx, id, generation, snapshot, persisted)),
    },
    log,
  )
  const actors = createRegistry(
    {
      name: "microvm",
      machine: createMicrovmMachine(host.verbs, () => host.activity),
      save: (id, generation, snapshot, persisted) =>
        db.transaction((tx) => saveMicrovm(tx, id, generation, snapshot, persisted)),
    },
    log,
  )
  opened.defer(() => versions.close())
  opened.defer(() => actors.close())
  const secrets = createSecrets(randomBytes(32))
  const limits = { bytesPerLog: 2 ** 20, bytesPerGroup: 2 ** 20, bytesPerHost: 2 ** 30, days: 7 }
  const logs = opened.use(createLogs({ db, hostId, limits, log }))
  images = createImages({
    db,
    hostId,
    architecture: "x86_64",
    quota: { maxUnfinished: 10, maxImages: 10, maxVersions: 10, maxBasesBytes: 1e9 },
    registry: versions,
    secrets,
    logs,
    removeBases: async () => {},
  })
  const places = { cacheDirectory, dataDirectory: cacheDirectory }
  microvms = createMicrovms({ db, hostId, places, registry: actors, ledger: createLedger(100_000), logs })
  await images.create(imageRequest("app"), caller())
  await untilImage("app", "CREATED")
})
afterAll(() => opened.disposeAsync())

const untilImage = (name: string, state: string) =>
  eventually(async () => expect((await images.get(name, scope)).state).toBe(state), { interval: 5 })
const untilMicrovm = (id: string, state: string) =>
  eventually(async () => expect((await microvms.get(id, scope)).state).toBe(state), { interval: 5 })
const auditOf = (resource: string) =>
  database.db
    .select({
      action: audit.action,
      cause: audit.cause,
      actor: audit.actor,
      requestId: audit.requestId,
      details: audit.details,
    })
    .from(audit)
    .where(eq(audit.resource, resource))
    .orderBy(asc(audit.id))
const eventsOf = async (resource: string) =>
  (
    await database.db
      .select({ type: outbox.type, payload: outbox.payload })
      .from(outbox)
      .where(eq(outbox.resource, resource))
      .orderBy(asc(outbox.id))
  ).map(({ type, payload }) => ({ action: type, cause: payload["cause"] }))

describe("The audit log", () => {
  test("tells an image's way from the request to its base, and who asked; the outbox tells the same", async () => {
    const by = caller()
    await images.create(imageRequest("told"), by)
    await untilImage("told", "CREATED")
    const rows = await auditOf(arn("microvm-image:told"))
    expect(rows.map(({ action, cause, actor }) => ({ action, cause, actor }))).toEqual([
      { action: "microvm-image.creating", cause: "api", actor: "AKIATEST" },
      { action: "microvm-image-version.in-progress", cause: "build", actor: null },
      { action: "microvm-image-version.successful", cause: "build", actor: null },
    ])
    expect(rows[0]).toMatchObject({ requestId: by.requestId, details: { codeArtifact: "s3://apps/app.zip" } })
    expect(await eventsOf(arn("microvm-image:told"))).toEqual(rows.map(({ action, cause }) => ({ action, cause })))
  })

  test("tells why a build failed, and none of the image's secrets", async () => {
    buildFailure = new Error("line 3: exited with code 1")
    await images.create(imageRequest("failing"), caller())
    await untilImage("failing", "CREATE_FAILED")
    buildFailure = undefined
    const rows = await auditOf(arn("microvm-image:failing"))
    expect(rows.at(-1)).toMatchObject({
      action: "microvm-image-version.failed",
      details: { version: "1.0", reason: "line 3: exited with code 1" },
    })
    expect(JSON.stringify(rows)).not.toContain("hunter2")
  })

  test("tells a MicroVM's whole life, each step with its cause, and with who wished it", async () => {
    const callers = [caller(), caller(), caller(), caller()] as const
    const { id } = await microvms.run(runRequest(), callers[0])
    await untilMicrovm(id, "RUNNING")
    await microvms.suspend(id, callers[1])
    await untilMicrovm(id, "SUSPENDED")
    await microvms.resume(id, callers[2])
    await untilMicrovm(id, "RUNNING")
    await microvms.terminate(id, callers[3])
    await untilMicrovm(id, "TERMINATED")
    const rows = await auditOf(arn(`microvm:microvm-${id}`))
    expect(rows.map(({ action, cause }) => ({ action, cause }))).toEqual([
      { action: "microvm.pending", cause: "api" },
      { action: "microvm.running", cause: "api" },
      { action: "microvm.suspending", cause: "api" },
      { action: "microvm.suspended", cause: "api" },
      { action: "microvm.running", cause: "api" },
      { action: "microvm.terminating", cause: "api" },
      { action: "microvm.terminated", cause: "api" },
    ])
    expect(rows[0]).toMatchObject({ actor: "AKIATEST", requestId: callers[0].requestId })
    expect(rows[2]).toMatchObject({ actor: "AKIATEST", requestId: callers[1].requestId })
    expect(rows.at(-1)?.details).toEqual({ reason: "Success." })
    expect(await eventsOf(arn(`microvm:microvm-${id}`))).toEqual(rows.map(({ action, cause }) => ({ action, cause })))
  })

  test("tells who lets somebody into a MicroVM and to what, once a minute, and no event of it", async () => {
    const [first, second] = [caller(), { ...caller(), accessKeyId: "AKIAOTHER" }]
    const { id } = await microvms.run(runRequest(), first)
    const web = {
      kind: "token",
      ports: [
        { from: 80, to: 81 },
        { from: 8080, to: 8080 },
      ],
      expirationSeconds: 60,
    } as const
    for (let times = 0; times < 3; times++) await microvms.letIn(id, web, first)
    await microvms.letIn(id, web, second)
    await microvms.letIn(id, { ...web, kind: "link" }, first)
    await untilMicrovm(id, "RUNNING")
    await microvms.terminate(id, caller())
    await untilMicrovm(id, "TERMINATED")
    await expect(microvms.letIn(id, web, first)).rejects.toThrow("has been terminated")
    const isOfAccess = ({ action }: { action: string }) => action.endsWith("-created")
    const rows = (await auditOf(arn(`microvm:microvm-${id}`))).filter(isOfAccess)
    const details = { ports: "80-81, 8080", expirationSeconds: 60 }
    expect(rows).toMatchObject([
      { action: "microvm.token-created", actor: "AKIATEST", requestId: first.requestId, details },
      { action: "microvm.token-created", actor: "AKIAOTHER", requestId: second.requestId, details },
      { action: "microvm.link-created", actor: "AKIATEST", details },
    ])
    expect((await eventsOf(arn(`microvm:microvm-${id}`))).filter(isOfAccess)).toEqual([])
  })

  test("tells why a MicroVM ended that nobody ended", async () => {
    const { id } = await microvms.run(runRequest(), caller())
    await untilMicrovm(id, "RUNNING")
    host.exit({ cause: "exit", reason: "The application exited with code 3." })
    await untilMicrovm(id, "TERMINATED")
    expect((await auditOf(arn(`microvm:microvm-${id}`))).at(-1)).toMatchObject({
      action: "microvm.terminated",
      cause: "exit",
      details: { reason: "The application exited with code 3." },
    })
  })

  test("has nothing of a request that was refused, nor a second row of one that was repeated", async () => {
    const before = await database.db.$count(audit)
    await expect(microvms.run(runRequest({ imageName: "nowhere" }), caller())).rejects.toThrow(/No active version/)
    await expect(images.create(imageRequest("app"), caller())).rejects.toThrow(/already exists/)
    const disk = join(cacheDirectory, "root")
    await rename(disk, `${disk}-elsewhere`)
    await expect(microvms.run(runRequest(), caller())).rejects.toThrow(/gone from this host \(cache:root\)/)
    await rename(`${disk}-elsewhere`, disk)
    expect(await database.db.$count(audit)).toBe(before)
    const request = runRequest({ clientToken: randomUUID() })
    const [first, second] = await Promise.all([microvms.run(request, caller()), microvms.run(request, caller())])
    expect(second.id).toBe(first.id)
    const pending = (await auditOf(arn(`microvm:microvm-${first.id}`))).filter(
      ({ action }) => action === "microvm.pending",
    )
    expect(pending).toHaveLength(1)
    await microvms.terminate(first.id, caller())
    await untilMicrovm(first.id, "TERMINATED")
  })

  test.each(["audit", "outbox"])(
    "and the change itself are one: what %s cannot take has not happened",
    async (table) => {
      const { db } = database
      const column = table === "audit" ? "action" : "type"
      const { id } = await microvms.run(runRequest(), caller())
      await untilMicrovm(id, "RUNNING")
      await db.execute(
        sql.raw(`alter table ${table} add constraint refused check (${column} <> 'microvm.suspending') not valid`),
      )
      const suspending = microvms.suspend(id, caller())
      // The statechart is far ahead by now; its rows wait, in their order.
      await sleep(100)
      expect(await microvms.get(id, scope)).toMatchObject({ state: "RUNNING" })
      const actions = async () => (await auditOf(arn(`microvm:microvm-${id}`))).map(({ action }) => action)
      expect(await actions()).toEqual(["microvm.pending", "microvm.running"])
      await db.execute(sql.raw(`alter table ${table} drop constraint refused`))
      await suspending
      await untilMicrovm(id, "SUSPENDED")
      expect((await actions()).slice(2)).toEqual(["microvm.suspending", "microvm.suspended"])
      await microvms.terminate(id, caller())
      await untilMicrovm(id, "TERMINATED")
    },
  )

  test.each(["audit", "outbox"])("refuses a run as a whole when %s cannot take it", async (table) => {
    const { db } = database
    const column = table === "audit" ? "action" : "type"
    await db.execute(
      sql.raw(`alter table ${table} add constraint refused check (${column} <> 'microvm.pending') not valid`),
    )
    const before = await db.$count(microvmRows)
    await expect(microvms.run(runRequest(), caller())).rejects.toThrow()
    await db.execute(sql.raw(`alter table ${table} drop constraint refused`))
    expect(await db.$count(microvmRows)).toBe(before)
  })
})
