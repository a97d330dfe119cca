import { randomUUID } from "node:crypto"
import { readdir } from "node:fs/promises"
import { join } from "node:path"
import { eq } from "drizzle-orm"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { ensureRuntime, type RuntimeDisks } from "../../images/runtimes/runtime-disks.ts"
import type { RuntimeName } from "../../images/runtimes/runtimes.ts"
import { makeRuntimeBase, type BaseToMake, type MadeBase } from "../../machines/environments/base-making.ts"
import { createRuntimeBases, dropStaleBases } from "../../machines/environments/runtime-bases.ts"
import { removeUnusedBases } from "../../machines/unused-bases.ts"
import { parseConfig } from "../../src/config.ts"
import { runtimeBases } from "../../src/db/functions.ts"
import { bases, vms } from "../../src/db/schema.ts"
import { definitionOf, launchFunction, makeFunctionDisks, type LaunchedFrom } from "./launched.ts"
import { openVmHostUnderTest, type VmHostUnderTest } from "./vm-host-under-test.ts"

/** What each says of its process that no sibling may say, and where it was started. */
const CODE = {
  "app.mjs": `
    import { randomBytes, randomInt, randomUUID } from "node:crypto"
    import { readFileSync, writeFileSync } from "node:fs"
    export const handler = async () => {
      writeFileSync("/tmp/own", "")
      const random = [randomUUID(), randomBytes(8).toString("hex"), randomInt(2 ** 47), Math.random()]
      const hasWaited = readFileSync("/proc/self/environ", "utf8").includes("_TORPOR_WAITING")
      return { random, hasWaited, own: process.env.OWN }
    }`,
  "app.py": `
import os, random, secrets, ssl, uuid
def handler(event, context):
    open("/tmp/own", "w").close()
    numbers = [random.random(), str(uuid.uuid4()), secrets.token_hex(8), ssl.RAND_bytes(8).hex()]
    has_waited = "_TORPOR_WAITING" in open("/proc/self/environ").read()
    return {"random": numbers, "hasWaited": has_waited, "own": os.environ["OWN"]}`,
}

let under: VmHostUnderTest
let disks: RuntimeDisks
beforeAll(async () => {
  under = await openVmHostUnderTest()
  disks = await ensureRuntime(
    "nodejs24.x",
    parseConfig({ TORPOR_CACHE_DIR: process.env["TORPOR_CACHE_DIR"] }),
    () => {},
    signal,
  )
})
afterAll(() => under?.[Symbol.asyncDispose]())
const { signal } = new AbortController()

/** The base of Node's functions, as it was made. */
let base: MadeBase & BaseToMake

/** The bases as a daemon has them; `made` counts those that were made. */
const open = () => {
  const { host, artifacts, places, snapshots, createOverlay } = under
  const made: string[] = []
  const runtimes = createRuntimeBases({
    host,
    places,
    systemDisk: artifacts.systemDisk,
    disksOf: async () => disks,
    async make(options, within) {
      made.push(options.id)
      base = { ...options, ...(await makeRuntimeBase({ host, artifacts, snapshots, createOverlay }, options, within)) }
      return base
    },
    maxBytes: Infinity,
    signal,
  })
  return { runtimes, made, [Symbol.asyncDispose]: () => runtimes[Symbol.asyncDispose]() }
}

const expectSiblings = async (from: LaunchedFrom, runtime: RuntimeName, count: number) => {
  const numbers: unknown[] = []
  for (let sibling = 0; sibling < count; sibling++) {
    await using launched = await launchFunction(from, definitionOf(runtime, { OWN: String(sibling) }))
    const answer = (await launched.invoke({})) as { random: unknown[] }
    expect(answer).toMatchObject({ own: String(sibling), hasWaited: true })
    numbers.push(...answer.random)
  }
  expect(new Set(numbers).size).toBe(count * 4)
}

describe("The base of a runtime", () => {
  test("is made once for all who ask, is found by the next daemon, and leaves no VM behind", async () => {
    const { host, places, artifacts } = under
    await using first = open()
    const { runtimes, made } = first
    const [one, other] = await Promise.all([
      runtimes.of("nodejs24.x", 128, signal),
      runtimes.of("nodejs24.x", 100, signal),
    ])
    expect(one).toEqual({ baseId: made[0], memoryMiB: 384, runtimeDrive: disks.runtimeDisk })
    expect(other).toEqual(one)
    expect(await host.vmm.find()).toEqual([])
    expect(await readdir(join(places.dataDirectory, "vms"))).toEqual([])
    await dropStaleBases(host, places, artifacts.systemDisk, signal)
    await removeUnusedBases(host.db, host.hostId)
    await using next = open()
    expect(await next.runtimes.of("nodejs24.x", 128, signal)).toEqual(one)
    expect(next.made).toEqual([])
  })

  test("has it started and trained: functions have their own variables, and no random number that a sibling has", async () => {
    const disksOf = await makeFunctionDisks(join(under.places.dataDirectory, "node"), CODE)
    const from = { under, base, runtime: disks, disks: disksOf }
    await expectSiblings(from, "nodejs24.x", 3)
    // What counts at a process's start only.
    const otherwise = { OWN: "otherwise", NODE_OPTIONS: "--no-warnings" }
    await using launched = await launchFunction(from, definitionOf("nodejs24.x", otherwise))
    expect(await launched.invoke({})).toMatchObject({ own: "otherwise", hasWaited: false })
  })

  test("is as well that of Python", async () => {
    const { host, artifacts, snapshots, createOverlay, places } = under
    const config = parseConfig({ TORPOR_CACHE_DIR: process.env["TORPOR_CACHE_DIR"] })
    const runtime = "python3.13"
    const ground = await ensureRuntime(runtime, config, () => {}, signal)
    const id = randomUUID()
    const wanted = {
      id,
      runtime,
      memoryMiB: 384,
      ground,
      madeOf: "",
      directory: join(places.dataDirectory, "bases", id),
    } as const
    const made = await makeRuntimeBase({ host, artifacts, snapshots, createOverlay }, wanted, signal)
    const disksOf = await makeFunctionDisks(join(places.dataDirectory, runtime), CODE)
    await expectSiblings({ under, base: { ...wanted, ...made }, runtime: ground, disks: disksOf }, runtime, 2)
  })

  test("is stale when what it was made of is another: its row goes when no VM that lives stands on it", async () => {
    const { host, places } = under
    const { db, hostId } = host
    const [row] = await db.select().from(runtimeBases)
    const vm = {
      id: "00000000-0000-4000-8000-000000000001",
      hostId,
      kind: "microvm",
      memoryMiB: 384,
      vcpus: 1,
    } as const
    await db.insert(vms).values({ ...vm, baseId: row?.baseId ?? null })
    const start = async () => {
      await dropStaleBases(host, places, join(places.cacheDirectory, "artifacts/system-new/disk.raw"), signal)
      await removeUnusedBases(db, hostId)
      return (await db.select().from(bases)).length
    }
    expect(await start()).toBe(1)
    expect(await db.select().from(runtimeBases)).toEqual([])
    await db.update(vms).set({ endedAt: new Date() }).where(eq(vms.id, vm.id))
    expect(await start()).toBe(0)
  })
})
