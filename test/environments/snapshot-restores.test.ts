/** Restores of a version's snapshot in real virtual machines: in the one that it was made of, in one that stood ready, and from its files. */
import { randomUUID } from "node:crypto"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import { eq } from "drizzle-orm"
import { pino } from "pino"
import { Registry } from "prom-client"
import { expect, test } from "vitest"
import { ensureRuntime } from "../../images/runtimes/runtime-disks.ts"
import { takeRuntimeBase } from "../../machines/environments/base-making.ts"
import { defaultEnvironmentLimits, openEnvironments } from "../../machines/environments/open-environments.ts"
import { createRuntimeBases } from "../../machines/environments/runtime-bases.ts"
import { openSnapshots } from "../../machines/environments/snapshots/open-snapshots.ts"
import { prepareStanding } from "../../machines/environments/snapshots/snapshot-loading.ts"
import { makeSnapshot } from "../../machines/environments/snapshots/snapshot-making.ts"
import { createStandingVms } from "../../machines/environments/snapshots/standing-vms.ts"
import type { VersionSnapshot } from "../../machines/environments/snapshots/version-snapshots.ts"
import { createFunctionChanges } from "../../machines/functions/changes.ts"
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
    const born = randomUUID()
    appendFileSync("/tmp/own", "init ")
    let events = 0
    export const handler = async () => {
      appendFileSync("/tmp/own", "event")
      const { AWS_LAMBDA_LOG_STREAM_NAME: stream } = process.env
      return { born, stream, events: ++events, file: readFileSync("/tmp/own", "utf8"), random: randomUUID() }
    }`,
}
interface Said {
  readonly born: string
  readonly stream: string
  readonly events: number
  readonly file: string
  readonly random: string
}

const open = async (under: VmHostUnderTest) => {
  const { host, artifacts, places, snapshots: boots, createOverlay, place } = under
  const config = parseConfig({ TORPOR_CACHE_DIR: process.env["TORPOR_CACHE_DIR"] })
  await using opened = new AsyncDisposableStack()
  const bases = opened.use(
    createRuntimeBases({
      host,
      places,
      systemDisk: artifacts.systemDisk,
      disksOf: () => ensureRuntime("nodejs24.x", { ...config, npmEnvironment: {} }, () => {}, signal),
      make: (options, within) => takeRuntimeBase({ host, artifacts, snapshots: boots, createOverlay }, options, within),
      maxBytes: Infinity,
      signal,
    }),
  )
  const function_ = { ...(await makeFunctionDisks(join(places.dataDirectory, "function"), CODE)), layers: null }
  const disks = { of: () => Promise.resolve(function_) }
  const ground = { host, db: host.db, places, emptyDrive: artifacts.emptyDrive, createOverlay }
  const told: { readonly msg: string; readonly pid?: number }[] = []
  const log = pino({ level: "info" }, { write: (line: string) => void told.push(JSON.parse(line) as (typeof told)[0]) })
  const limits = { maxBookedShare: 1, idleMs: 600_000 }
  const spares = opened.use(
    createSpares({ ...ground, ...limits, host: { ...host, log }, max: 1, maxPerBase: 1, metrics: new Registry() }),
  )
  const standing = opened.use(
    createStandingVms({
      ...limits,
      host,
      prepare: (snapshot, within) => prepareStanding(ground, snapshot, within),
      maxVms: 1,
    }),
  )
  let mayFill = false
  const snapshots = opened.use(
    await openSnapshots({
      ...ground,
      dataDirectory: places.dataDirectory,
      standing: { ...standing, fill: (snapshot: VersionSnapshot) => mayFill && standing.fill(snapshot) },
      make: (definition, to, within) => makeSnapshot({ ...ground, bases, disks }, definition, to, within),
      changes: createFunctionChanges(),
      isCurrent: () => Promise.resolve(true),
      metrics: new Registry(),
      policy: { isAutomatic: true, minInitMs: 0 },
      limits: { maxBytes: Infinity, unusedMs: 86_400_000, maxBookedShare: 1 },
    }),
  )
  const work = createWork()
  opened.defer(async () => void (await work.settled(30_000)))
  const environments = opened.use(
    await openEnvironments(
      {
        ...ground,
        spares,
        secrets: createSecrets(Buffer.from(place.key, "hex")),
        disks,
        bases,
        snapshots,
        work,
        limits: { ...defaultEnvironmentLimits, initMs: 120_000 },
      },
      signal,
    ),
  )
  const held = opened.move()
  return {
    environments,
    snapshots,
    standing,
    /** Whether others are made behind. */
    fills: (does: boolean) => void (mayFill = does),
    /** The processes that have stood ready, as the log says. */
    stoodReady: () => told.filter(({ msg }) => msg === "A process stands ready").map(({ pid }) => pid),
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}

test("Environments of a version go on where its Init was, in the VM that had it, in one that stood ready, and in a spare process", async () => {
  await using under = await openVmHostUnderTest()
  const { db, vmm } = under.host
  await using opened = await open(under)
  const { environments, snapshots, standing, stoodReady, fills } = opened
  const definition = definitionOf("nodejs24.x")
  await snapshots.prepare(definition, signal)
  expect(standing.count).toBe(1)
  const made = (await vmm.find()).map(({ pid }) => pid)
  expect(made.length).toBe(1)

  const begin = async () => {
    const environment = await environments.start(definition, "on-demand", signal)
    const spec = { requestId: randomUUID(), functionArn: "arn:f", mode: "buffered" as const }
    const answer = environment.invoke({ spec, payload: Buffer.from("{}"), timeoutMs: 60_000 })
    const said = JSON.parse(await text(answer.body)) as Said
    const { tail } = await answer.settled
    expect(tail.toString()).toContain("Restore Duration")
    const [row] = await db
      .select({ pid: vms.pid })
      .from(vms)
      .innerJoin(rows, eq(rows.vmId, vms.id))
      .where(eq(rows.id, environment.id))
    return { environment, said, pid: row?.pid }
  }
  const first = await begin()
  expect([first.pid]).toEqual(made)
  expect(standing.count).toBe(0)
  fills(true)
  const loaded = await begin()
  await expect.poll(() => standing.count, { timeout: 300_000 }).toBe(1)
  fills(false)
  const stood = (await vmm.find()).map(({ pid }) => pid)
  const second = await begin()
  expect(stood).toContain(second.pid)
  expect(standing.count).toBe(0)
  await expect.poll(() => stoodReady().length, { timeout: 300_000 }).toBeGreaterThan(0)
  const ready = stoodReady()
  const spared = await begin()
  expect(ready).toContain(spared.pid)

  const all = [first, loaded, second, spared]
  for (const { said } of all) expect(said).toMatchObject({ events: 1, file: "init event", born: first.said.born })
  for (const own of ["random", "stream"] as const) expect(new Set(all.map(({ said }) => said[own])).size).toBe(4)
  for (const { environment } of all) {
    environment.end("api", "The test is over.")
    await environment.over
  }
})
