import { randomUUID } from "node:crypto"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import { and, eq, isNull } from "drizzle-orm"
import { pino } from "pino"
import { Registry } from "prom-client"
import { expect, test } from "vitest"
import { ensureRuntime } from "../../images/runtimes/runtime-disks.ts"
import { takeRuntimeBase } from "../../machines/environments/base-making.ts"
import type { Environment } from "../../machines/environments/environments.ts"
import { defaultEnvironmentLimits, openEnvironments } from "../../machines/environments/open-environments.ts"
import { createRuntimeBases } from "../../machines/environments/runtime-bases.ts"
import { createWarmPool } from "../../machines/environments/warm-pool.ts"
import { makeWarm } from "../../machines/environments/warm-vm.ts"
import { createSpares } from "../../machines/vms/spares.ts"
import { createWork } from "../../machines/work.ts"
import { parseConfig } from "../../src/config.ts"
import { environments as rows } from "../../src/db/environments.ts"
import { vms } from "../../src/db/schema.ts"
import { createSecrets } from "../../src/secrets.ts"
import { definitionOf, makeFunctionDisks } from "./launched.ts"
import { openVmHostUnderTest, type VmHostUnderTest } from "./vm-host-under-test.ts"

const { signal } = new AbortController()
const CODE = {
  "app.mjs": `
    import { randomUUID } from "node:crypto"
    import { appendFileSync, readFileSync } from "node:fs"
    let events = 0
    export const handler = async () => {
      appendFileSync("/tmp/own", "x")
      return { events: ++events, own: process.env.OWN, file: readFileSync("/tmp/own", "utf8"), random: randomUUID() }
    }`,
}

const open = async (under: VmHostUnderTest) => {
  const { host, artifacts, places, snapshots, createOverlay, place } = under
  const config = parseConfig({ TORPOR_CACHE_DIR: process.env["TORPOR_CACHE_DIR"] })
  await using opened = new AsyncDisposableStack()
  const bases = createRuntimeBases({
    host,
    places,
    systemDisk: artifacts.systemDisk,
    disksOf: () => ensureRuntime("nodejs24.x", { ...config, npmEnvironment: {} }, () => {}, signal),
    make: (options, within) => takeRuntimeBase({ host, artifacts, snapshots, createOverlay }, options, within),
    maxBytes: Infinity,
    signal,
  })
  const { emptyDrive } = artifacts
  const limits = { maxVms: 1, maxBookedShare: 1, idleMs: 600_000 }
  const ground = { host, places, emptyDrive, createOverlay }
  const told: string[] = []
  const log = pino({ level: "info" }, { write: (line: string) => void told.push(line) })
  const spares = opened.use(
    createSpares({
      ...ground,
      host: { ...host, log },
      max: 2,
      maxPerBase: 2,
      maxBookedShare: 1,
      idleMs: 600_000,
      metrics: new Registry(),
    }),
  )
  const pool = opened.use(
    createWarmPool({
      host,
      make: (warm, need, within) => makeWarm({ ...ground, spares }, warm, need, within),
      ...limits,
    }),
  )
  /** Of those that are taken: no other file can be put behind a drive. */
  const broken = { isSo: false, pids: [] as number[] }
  const swapDrive = () => Promise.reject(new Error("This drive stays as it is"))
  const disks = { ...(await makeFunctionDisks(join(places.dataDirectory, "function"), CODE)), layers: null }
  const work = createWork()
  opened.defer(async () => void (await work.settled(30_000)))
  const environments = opened.use(
    await openEnvironments(
      {
        ...ground,
        db: host.db,
        spares,
        secrets: createSecrets(Buffer.from(place.key, "hex")),
        disks: { of: () => Promise.resolve(disks) },
        bases,
        pool: {
          take(standing) {
            const warm = pool.take(standing)
            if (warm === undefined || !broken.isSo) return warm
            broken.pids.push(warm.vm.process.pid)
            return { ...warm, vm: { ...warm.vm, swapDrive } }
          },
          fill: pool.fill,
        },
        work,
        limits: { ...defaultEnvironmentLimits, initMs: 120_000 },
      },
      signal,
    ),
  )
  const held = opened.move()
  /** The processes of a kind that have stood ready, as the log says. */
  const stoodReady = (kind: "rehearsed" | "started"): number[] =>
    told
      .map((line) => JSON.parse(line) as { msg: string; kind?: string; pid: number })
      .filter(({ msg, kind: its }) => msg === "A process stands ready" && its === kind)
      .map(({ pid }) => pid)
  return { environments, pool, broken, spares, stoodReady, bases, [Symbol.asyncDispose]: () => held.disposeAsync() }
}

const processOf = async (
  { host: { db } }: VmHostUnderTest,
  { id }: Environment,
): Promise<number | null | undefined> => {
  const [row] = await db
    .select({ pid: vms.pid })
    .from(vms)
    .innerJoin(rows, eq(rows.vmId, vms.id))
    .where(eq(rows.id, id))
  return row?.pid
}

const answerOf = async (environment: Environment) => {
  const spec = { requestId: randomUUID(), functionArn: "arn:f", mode: "buffered" as const }
  const answer = environment.invoke({ spec, payload: Buffer.from("{}"), timeoutMs: 60_000 })
  const body = JSON.parse(await text(answer.body)) as { events: number; random: string }
  await answer.settled
  return body
}

test("A VM that was kept warm becomes an environment, once, and so does a process that has rehearsed; they live as any other", async () => {
  await using under = await openVmHostUnderTest()
  const { db, vmm } = under.host
  await using opened = await open(under)
  const { environments, pool, broken, spares, stoodReady, bases } = opened
  const start = (own: string) => environments.start(definitionOf("nodejs24.x", { OWN: own }), "on-demand", signal)
  const loaded = await start("loaded")
  const first = await answerOf(loaded)
  expect(first).toMatchObject({ events: 1, own: "loaded", file: "x" })
  await expect.poll(() => pool.count, { timeout: 300_000 }).toBe(1)
  const waiting = await db
    .select({ id: vms.id })
    .from(vms)
    .where(and(eq(vms.kind, "build"), isNull(vms.endedAt)))
  // It has the `/tmp` of those before.
  const base = await bases.of("nodejs24.x", 128, signal)
  expect(pool.take({ base, temporary: "/another" })).toBeUndefined()
  await expect.poll(() => stoodReady("rehearsed").length, { timeout: 300_000 }).toBe(1)
  const warm = await start("warm")
  const rehearsed = await start("rehearsed")
  expect(await processOf(under, rehearsed)).toBe(stoodReady("rehearsed")[0])
  const [row] = await db.select().from(rows).where(eq(rows.id, warm.id))
  const second = await answerOf(warm)
  expect(second).toMatchObject({ events: 1, own: "warm", file: "x" })
  const third = await answerOf(rehearsed)
  expect(third).toMatchObject({ events: 1, own: "rehearsed", file: "x" })
  expect(new Set([first, second, third].map(({ random }) => random)).size).toBe(3)
  expect(waiting).toEqual([{ id: row?.vmId }])
  // What it is to wake in.
  await expect.poll(() => stoodReady("started").length, { timeout: 300_000 }).toBeGreaterThan(0)
  // Its memory is a delta against the base, its drives are those of its directory; another process has them behind its own.
  const asleep = async () => {
    // Nothing happens until it has been stopped.
    warm.deflate()
    return (await db.select().from(rows).where(eq(rows.id, warm.id)))[0]?.state
  }
  await expect.poll(asleep).toBe("SUSPENDED")
  expect(await answerOf(warm)).toMatchObject({ events: 2, own: "warm", file: "xx" })
  expect(stoodReady("started")).toContain(await processOf(under, warm))
  expect(await answerOf(rehearsed)).toMatchObject({ events: 2, own: "rehearsed", file: "xx" })
  // Of a VM that cannot be given its function's files nothing is left, and another is loaded.
  await expect.poll(() => pool.count, { timeout: 300_000 }).toBe(1)
  broken.isSo = true
  const instead = await start("instead")
  expect(pool.count).toBe(0)
  expect(await answerOf(instead)).toMatchObject({ events: 1, own: "instead", file: "x" })
  expect(broken.pids).toHaveLength(1)
  const living = (await vmm.find()).map(({ pid }) => pid)
  expect(living).toContain(await processOf(under, instead))
  expect(living).not.toContain(broken.pids[0])
  for (const environment of [loaded, warm, rehearsed, instead]) {
    environment.end("api", "The test is over.")
    await environment.over
  }
  await pool[Symbol.asyncDispose]()
  await spares[Symbol.asyncDispose]()
  expect(await vmm.find()).toEqual([])
})
