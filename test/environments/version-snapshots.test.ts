/** Which versions have snapshots, and for how long: with a real database and real files, and without a VM. */
import { randomUUID } from "node:crypto"
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { eq } from "drizzle-orm"
import { pino } from "pino"
import { Registry } from "prom-client"
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { HostFull } from "../../machines/environments/environments.ts"
import { mayHaveSnapshot } from "../../machines/environments/snapshots/choice.ts"
import { openSnapshots, type SnapshotsOptions } from "../../machines/environments/snapshots/open-snapshots.ts"
import type { MadeSnapshot } from "../../machines/environments/snapshots/snapshot-making.ts"
import type { StandingVm } from "../../machines/environments/snapshots/standing-vms.ts"
import { snapshotDirectory, type VersionSnapshot } from "../../machines/environments/snapshots/version-snapshots.ts"
import { createFunctionChanges } from "../../machines/functions/changes.ts"
import type { Definition } from "../../machines/functions/definition.ts"
import { createLedger } from "../../src/capacity/ledger.ts"
import { versionSnapshots } from "../../src/db/environments.ts"
import { registerHost } from "../../src/db/identity.ts"
import { SnapshotRefused } from "../../src/vmm/manifest.ts"
import { insertBase } from "../db/base-row.ts"
import { openTestDatabase, type TestDatabase } from "../db/database.ts"
import { definitionOf } from "../life/functions/ground.ts"

let database: TestDatabase
let dataDirectory: string
const baseId = randomUUID()
beforeAll(async () => {
  database = await openTestDatabase()
  const { db, hostId } = database
  await registerHost(db, hostId, "test")
  await insertBase(db, { id: baseId, hostId, memoryMiB: 384 })
})
afterAll(() => database?.[Symbol.asyncDispose]())
beforeEach(async () => {
  await database.db.delete(versionSnapshots)
  dataDirectory = await mkdtemp(join(tmpdir(), "torpor-snapshots-"))
  return () => rm(dataDirectory, { recursive: true })
})

const base = { baseId, memoryMiB: 384, runtimeDrive: null }
const slow = { initMs: 5000, hasExtensions: false }
const inNode = (name: string, environment: Record<string, string> = {}): Definition => {
  const definition = definitionOf(name, environment)
  return { ...definition, settings: { ...definition.settings, runtime: "nodejs24.x" } }
}

/** Of a host with room for `MiB` of snapshots; each that is made has a file, and is `bytes` large. */
const open = async (
  more: {
    MiB?: number
    make?: SnapshotsOptions["make"]
    bookedMiB?: number
    gone?: string[]
    standing?: SnapshotsOptions["standing"]
  } = {},
) => {
  const { db, hostId } = database
  const made: string[] = []
  const gone = new Set(more.gone)
  const changes = createFunctionChanges()
  const ledger = createLedger(1000)
  const registry = new Registry()
  if (more.bookedMiB !== undefined) ledger.reserve("another", more.bookedMiB)
  const snapshots = await openSnapshots({
    db,
    host: { hostId, ledger, log: pino({ level: "silent" }) },
    dataDirectory,
    standing: more.standing ?? { put() {}, take: () => undefined, fill() {}, drop() {}, count: 0 },
    changes,
    isCurrent: ({ versionId }) => Promise.resolve(!gone.has(versionId)),
    metrics: registry,
    policy: { isAutomatic: true, minInitMs: 1000 },
    limits: { maxBytes: (more.MiB ?? 100) * 1024 ** 2, unusedMs: 86_400_000, maxBookedShare: 0.5 },
    make:
      more.make ??
      (async (definition, directory): Promise<MadeSnapshot> => {
        made.push(definition.name)
        await mkdir(directory)
        await writeFile(join(directory, "file"), "")
        return { baseId, vmId: randomUUID(), incarnation: 1, bytes: 10 * 1024 ** 2, initMs: 5000 }
      }),
  })
  const initialise = async (definition: Definition, init = slow) => {
    snapshots.initialised(definition, init)
    await snapshots.settled()
    return snapshots.of(definition, base)
  }
  return { ...snapshots, made, gone, changes, registry, ledger, initialise }
}
const files = () => readdir(snapshotDirectory(dataDirectory))
const rows = async () => (await database.db.select().from(versionSnapshots)).map(({ id }) => id).toSorted()
const given = (snapshot: VersionSnapshot | undefined): VersionSnapshot => {
  if (snapshot === undefined) throw new Error("There is no snapshot")
  return snapshot
}

describe("A version has a snapshot", () => {
  test("once an Init has taken long, and no other while it has one", async () => {
    await using snapshots = await open()
    const [long, short] = [inNode("long"), inNode("short")]
    expect(await snapshots.initialise(short, { ...slow, initMs: 900 })).toBeUndefined()
    const { id, initMs } = given(await snapshots.initialise(long))
    expect(initMs).toBe(5000)
    await snapshots.initialise(long)
    expect(snapshots.made).toEqual(["long"])
    expect([await files(), await rows()]).toEqual([[id], [id]])
  })

  test("when a restore is faster by far, as others have shown", async () => {
    await using snapshots = await open()
    const first = given(await snapshots.initialise(inNode("first")))
    snapshots.restored(first, 1500)
    expect(await snapshots.initialise(inNode("second"), { ...slow, initMs: 2900 })).toBeUndefined()
    expect(await snapshots.initialise(inNode("third"), { ...slow, initMs: 3100 })).toBeDefined()
  })

  test("unless it says that it wants none, has extensions, or a runtime of its own", () => {
    const policy = { isAutomatic: true, minInitMs: 1000 }
    const may = (definition: Definition, hasExtensions = false, isAutomatic = true) =>
      mayHaveSnapshot(definition, { hasExtensions }, { ...policy, isAutomatic })
    expect(may(inNode("f"))).toBe(true)
    expect(may(inNode("f", { TORPOR_SNAPSHOTS: "off" }))).toBe(false)
    expect(may(inNode("f"), true)).toBe(false)
    expect(may(inNode("f"), false, false)).toBe(false)
    expect(may(definitionOf("f"))).toBe(false)
  })

  test("unless the host's memory is in use, or it could not be made twice", async () => {
    await using full = await open({ bookedMiB: 400 })
    expect(await full.initialise(inNode("f"))).toBeUndefined()
    expect(full.made).toEqual([])
    let tries = 0
    const make = async (_: Definition, directory: string) => {
      tries++
      await mkdir(directory)
      throw new Error("Its Init failed")
    }
    await using snapshots = await open({ make })
    const definition = inNode("f")
    for (let n = 0; n < 3; n++) expect(await snapshots.initialise(definition)).toBeUndefined()
    expect(tries).toBe(2)
    expect(await files()).toEqual([])
  })
})

test("The VM that a snapshot was made of stands where it begins, and goes with it", async () => {
  const did: string[] = []
  const vm = { incarnation: 2 } as StandingVm
  const standing = {
    put: (id: string, what: StandingVm) => void did.push(`put ${id} ${what.incarnation}`),
    take: (id: string) => (did.push(`take ${id}`), vm),
    fill: ({ id }: VersionSnapshot) => void did.push(`fill ${id}`),
    drop: (id: string) => void did.push(`drop ${id}`),
    count: 0,
  }
  await using snapshots = await open({
    standing,
    async make(_, directory) {
      await mkdir(directory)
      return { baseId, vmId: randomUUID(), incarnation: 1, bytes: 1, initMs: 5000, standing: vm }
    },
  })
  const definition = inNode("f")
  const snapshot = given(await snapshots.initialise(definition))
  expect(snapshots.take(snapshot)).toBe(vm)
  snapshots.fill(snapshot)
  // It says nothing of what a restore takes.
  snapshots.restored(snapshot, undefined)
  await snapshots.settled()
  expect(snapshots.of(definition, base)?.restoreMs).toBeNull()
  snapshots.broke(snapshot, new Error("It ended"))
  snapshots.fill(snapshot)
  await snapshots.settled()
  const { id } = snapshot
  expect(did).toEqual([`put ${id} 2`, `take ${id}`, `fill ${id}`, `drop ${id}`])
})

describe("A snapshot is removed", () => {
  const isGone = async (opened: Awaited<ReturnType<typeof open>>, definition: Definition) => {
    await opened.settled()
    return opened.of(definition, base) === undefined && (await files()).length + (await rows()).length === 0
  }

  test("with its version, and with its base", async () => {
    await using snapshots = await open()
    const definition = inNode("f")
    await snapshots.initialise(definition)
    snapshots.changes.tell(definition.functionId)
    expect(await isGone(snapshots, definition)).toBe(false)
    snapshots.gone.add(definition.versionId)
    snapshots.changes.tell(definition.functionId)
    expect(await isGone(snapshots, definition)).toBe(true)

    const other = inNode("g")
    await snapshots.initialise(other)
    expect(snapshots.of(other, { ...base, baseId: randomUUID() })).toBeUndefined()
    expect(await isGone(snapshots, other)).toBe(true)
  })

  test("when its files are spoilt, or it fails twice in a row; only then is there never another", async () => {
    await using snapshots = await open()
    const definition = inNode("f")
    snapshots.failed(given(await snapshots.initialise(definition)), new SnapshotRefused("The delta is truncated"))
    expect(await isGone(snapshots, definition)).toBe(true)
    const another = given(await snapshots.initialise(definition))
    snapshots.failed(another, new Error("once"))
    await snapshots.settled()
    snapshots.restored(another, 100)
    await snapshots.settled()
    snapshots.failed(another, new Error("once again"))
    expect(await isGone(snapshots, definition)).toBe(false)
    snapshots.failed(another, new Error("twice"))
    expect(await isGone(snapshots, definition)).toBe(true)
    expect(await snapshots.initialise(definition)).toBeUndefined()
  })

  test("when restores of it turn out to be slower than the Init, some in a row", async () => {
    await using snapshots = await open()
    const definition = inNode("f")
    const snapshot = given(await snapshots.initialise(definition))
    const slowly = async (times: number) => {
      for (let n = 0; n < times; n++) {
        snapshots.restored(snapshot, 60_000)
        await snapshots.settled()
      }
    }
    await slowly(3)
    // The host was busy.
    snapshots.restored(snapshot, 600)
    await slowly(3)
    expect(await isGone(snapshots, definition)).toBe(false)
    await slowly(3)
    expect(await isGone(snapshots, definition)).toBe(true)
  })

  test("when there is no room for all of them, the least recently used first", async () => {
    await using snapshots = await open({ MiB: 25 })
    const [one, two, three] = [inNode("one"), inNode("two"), inNode("three")]
    await snapshots.initialise(one)
    await snapshots.initialise(two)
    snapshots.restored(given(snapshots.of(one, base)), 100)
    await snapshots.settled()
    await snapshots.initialise(three)
    expect([one, two, three].map((definition) => snapshots.of(definition, base) !== undefined)).toEqual([
      true,
      false,
      true,
    ])
    expect((await files()).toSorted()).toEqual(await rows())
  })
})

describe("A snapshot that was asked for", () => {
  test("waits for memory that others have, and is made when they give it back", async () => {
    let tries = 0
    const make = async (_: Definition, directory: string): Promise<MadeSnapshot> => {
      if (++tries === 1) throw new HostFull("There is no memory left")
      await mkdir(directory)
      return { baseId, vmId: randomUUID(), incarnation: 1, bytes: 1000, initMs: 5000 }
    }
    await using snapshots = await open({ make, bookedMiB: 800 })
    const definition = inNode("f")
    const prepared = snapshots.prepare(definition, new AbortController().signal)
    await expect.poll(() => tries).toBe(1)
    snapshots.ledger.release("another")
    await prepared
    expect(snapshots.of(definition, base)).toBeDefined()
  })
})

test("What becomes of snapshots is counted", async () => {
  const tries = { made: 0 }
  const make = async (_: Definition, directory: string): Promise<MadeSnapshot> => {
    if (++tries.made > 1) throw new Error("Its Init failed")
    await mkdir(directory)
    return { baseId, vmId: randomUUID(), incarnation: 1, bytes: 1000, initMs: 5000 }
  }
  await using snapshots = await open({ make })
  const snapshot = given(await snapshots.initialise(inNode("f")))
  const failing = inNode("g")
  for (let n = 0; n < 3; n++) await snapshots.initialise(failing)
  snapshots.restored(snapshot, 100)
  snapshots.failed(snapshot, new Error("once"))
  await snapshots.settled()
  const counted = async () => (await snapshots.registry.metrics()).match(/^torpor_.*$/gm)
  const counts = [
    'torpor_function_snapshots_made_total{outcome="made"} 1',
    'torpor_function_snapshots_made_total{outcome="failed"} 2',
    'torpor_function_snapshot_restores_total{outcome="restored"} 1',
  ]
  expect(await counted()).toEqual([
    "torpor_function_snapshots 1",
    "torpor_function_snapshot_bytes 1000",
    "torpor_function_restored_vms 0",
    ...counts,
    'torpor_function_snapshot_restores_total{outcome="failed"} 1',
    "torpor_function_snapshots_given_up_total 1",
  ])
  snapshots.broke(snapshot, new Error("twice"))
  await snapshots.settled()
  expect(await counted()).toEqual([
    "torpor_function_snapshots 0",
    "torpor_function_snapshot_bytes 0",
    "torpor_function_restored_vms 0",
    ...counts,
    'torpor_function_snapshot_restores_total{outcome="failed"} 2',
    "torpor_function_snapshots_given_up_total 2",
  ])
})

test("The next daemon goes on with those that are of use, and removes what an unfinished one left", async () => {
  const [kept, changed, forgotten] = [inNode("kept"), inNode("changed"), inNode("forgotten")]
  {
    await using earlier = await open()
    for (const definition of [kept, changed, forgotten]) await earlier.initialise(definition)
  }
  await mkdir(join(snapshotDirectory(dataDirectory), randomUUID()))
  const { db } = database
  const longAgo = new Date(Date.now() - 2 * 86_400_000)
  await db.update(versionSnapshots).set({ usedAt: longAgo }).where(eq(versionSnapshots.definitionId, forgotten.id))
  await using snapshots = await open({ gone: [changed.versionId] })
  const left = [kept, changed, forgotten].map((definition) => snapshots.of(definition, base) !== undefined)
  expect(left).toEqual([true, false, false])
  expect((await files()).toSorted()).toEqual(await rows())
})
