import { randomUUID } from "node:crypto"
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { eq } from "drizzle-orm"
import { expect, onTestFinished, test } from "vitest"
import { trimBases } from "../../machines/environments/base-room.ts"
import { releaseBases, removeUnusedBases } from "../../machines/unused-bases.ts"
import { runtimeBases } from "../../src/db/functions.ts"
import { registerHost } from "../../src/db/identity.ts"
import { bases, vms } from "../../src/db/schema.ts"
import { insertBase } from "../db/base-row.ts"
import { openTestDatabase } from "../db/database.ts"
import { insertImageVersion } from "../db/image-version-row.ts"

test("Of this host's bases, those go that neither a version nor a VM names, nor has another's disk in it", async () => {
  await using database = await openTestDatabase()
  const { db } = database
  const [here, elsewhere] = [randomUUID(), randomUUID()]
  const putBase = (hostId: string) => insertBase(db, { hostId })
  for (const host of [here, elsewhere]) await registerHost(db, host, "name")
  const [ofVersion, ofVm, another] = [await putBase(here), await putBase(here), await putBase(elsewhere)]
  await putBase(here)
  const below = await putBase(here)
  const above = await insertBase(db, { hostId: here, rootDisk: ["cache:root", `data:bases/${below}/root.qcow2`] })
  await insertImageVersion(db, { account: "0", region: "eu", name: "other" }, { hostId: here, baseId: above })
  await insertImageVersion(db, { account: "0", region: "eu", name: "app" }, { hostId: here, baseId: ofVersion })
  await db
    .insert(vms)
    .values({ id: randomUUID(), hostId: here, baseId: ofVm, kind: "microvm", memoryMiB: 512, vcpus: 1 })
  await removeUnusedBases(db, here)
  const left = async (hostId: string) =>
    (await db.select({ id: bases.id }).from(bases).where(eq(bases.hostId, hostId))).map(({ id }) => id).toSorted()
  expect(await left(here)).toEqual([ofVersion, ofVm, below, above].toSorted())
  expect(await left(elsewhere)).toEqual([another])
})

test("Of runtimes' bases the longest unused go beyond their room, but none that was used of late or that a VM stands on", async () => {
  await using database = await openTestDatabase()
  const { db } = database
  const hostId = randomUUID()
  await registerHost(db, hostId, "name")
  const dataDirectory = await mkdtemp(join(tmpdir(), "torpor-bases-"))
  onTestFinished(() => rm(dataDirectory, { recursive: true }))
  const size = { memoryMiB: 384, vcpus: 1 }
  const put = async (runtime: string, hours: number) => {
    const id = randomUUID()
    const directory = join(dataDirectory, "bases", id)
    await mkdir(directory, { recursive: true })
    await writeFile(join(directory, "ram"), Buffer.alloc(2 ** 16, 1))
    const at = new Date(Date.now() - hours * 3_600_000)
    await utimes(directory, at, at)
    await insertBase(db, { id, hostId, ...size })
    await db.insert(runtimeBases).values({ hostId, runtime, memoryMiB: 384, baseId: id, madeOf: "" })
    return id
  }
  const vm = { id: randomUUID(), hostId, kind: "environment", ...size } as const
  const [young, longUsed, unused, fits] = [
    await put("young", 0),
    await put("in use", 30),
    await put("unused", 20),
    await put("fits", 10),
  ]
  await db.insert(vms).values({ ...vm, baseId: longUsed })
  // Its base is nobody's: its VM is over.
  await db.insert(vms).values({ ...vm, id: randomUUID(), baseId: unused, endedAt: new Date() })
  const trim = (maxBytes: number) => trimBases({ db, hostId, dataDirectory }, maxBytes)
  const left = async () => (await readdir(join(dataDirectory, "bases"))).toSorted()
  await trim(4 * 2 ** 16)
  expect(await left()).toHaveLength(4)
  await trim(2 * 2 ** 16)
  expect(await left()).toEqual([young, longUsed, fits].toSorted())
  expect(await db.select().from(runtimeBases)).toHaveLength(2)
  await trim(0)
  expect(await left()).toEqual([young, longUsed].toSorted())
  await db.update(vms).set({ endedAt: new Date() }).where(eq(vms.id, vm.id))
  await releaseBases(db, hostId)
  expect(await removeUnusedBases(db, hostId)).toEqual([longUsed])
})
