import { readdir } from "node:fs/promises"
import { join } from "node:path"
import { eq } from "drizzle-orm"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { ensureRuntime, type RuntimeDisks } from "../../images/runtimes/runtime-disks.ts"
import { makeRuntimeBase } from "../../machines/environments/base-making.ts"
import { createRuntimeBases, dropStaleBases } from "../../machines/environments/runtime-bases.ts"
import { removeUnusedBases } from "../../machines/unused-bases.ts"
import { parseConfig } from "../../src/config.ts"
import { runtimeBases } from "../../src/db/functions.ts"
import { bases, vms } from "../../src/db/schema.ts"
import { openVmHostUnderTest, type VmHostUnderTest } from "./vm-host-under-test.ts"

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
afterAll(() => under[Symbol.asyncDispose]())
const { signal } = new AbortController()

/** The bases as a daemon has them; `made` counts those that were made. */
const open = () => {
  const { host, artifacts, places, snapshots, createOverlay } = under
  const made: string[] = []
  const runtimes = createRuntimeBases({
    host,
    places,
    systemDisk: artifacts.systemDisk,
    disksOf: async () => disks,
    make(options, within) {
      made.push(options.id)
      return makeRuntimeBase({ host, artifacts, snapshots, createOverlay }, options, within)
    },
    signal,
  })
  return { runtimes, made, [Symbol.asyncDispose]: () => runtimes[Symbol.asyncDispose]() }
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
