import { createHash } from "node:crypto"
import { existsSync } from "node:fs"
import { mkdir, open, readdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { isNull } from "drizzle-orm"
import { pino } from "pino"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { buildDisk } from "../../machines/functions/disks/disk-build.ts"
import { openDiskStore } from "../../machines/functions/disks/disk-store.ts"
import type { DiskOwner } from "../../machines/functions/disks/function-disks.ts"
import { runCommand } from "../../src/command.ts"
import { vms } from "../../src/db/schema.ts"
import { rawZip, type RawEntry } from "../images/raw-zip.ts"
import { openVmHostUnderTest, type VmHostUnderTest } from "./vm-host-under-test.ts"

let under: VmHostUnderTest
let directory: string
beforeAll(async () => {
  under = await openVmHostUnderTest()
  directory = join(under.places.dataDirectory, "zips")
  await mkdir(directory)
})
afterAll(() => under?.[Symbol.asyncDispose]())

const { signal } = new AbortController()
const log = pino({ level: "silent" })
const [DIRECTORY, LINK] = [0o040000, 0o120000]

/** Puts a zip where builds find it by its hash. */
const give = async (entries: readonly RawEntry[]): Promise<string> => {
  const zip = rawZip(entries)
  const name = createHash("sha256").update(zip).digest("hex")
  await writeFile(join(directory, name), zip)
  return name
}
const owner = (code: string, layers: readonly string[] = [], temporaryMiB = 512): DiskOwner => ({
  code,
  layers,
  settings: { temporaryMiB },
})

/** Of the first test, for the others. */
const kept: DiskOwner[] = []

/** The disks as a daemon has them; `built` has each build's zips. */
const openDisks = async (owners: readonly DiskOwner[] = []) => {
  const { host, artifacts, places, snapshots, createOverlay } = under
  const openZip = (sha256: string) => open(join(directory, sha256))
  const built: (readonly string[])[] = []
  const store = await openDiskStore({
    directory: join(places.dataDirectory, "functions/disks"),
    build(zips, to, within) {
      built.push(zips)
      return buildDisk({ host, artifacts, snapshots, createOverlay, openZip }, zips, to, within)
    },
    owners: () => Promise.resolve(owners),
    maxConcurrentBuilds: 2,
    maxBytes: 1024 ** 3,
    holders: [],
    log,
  })
  return { built, store, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() }
}

const ask = (disk: string, question: string) => runCommand("debugfs", ["-R", question, disk], { signal })
const statOf = async (disk: string, path: string) => {
  const text = await ask(disk, `stat ${path}`)
  const [, type, mode] = /Type: (\w+) +Mode: +(\d+)/.exec(text) ?? []
  const [, uid, gid] = /User: +(\d+) +Group: +(\d+)/.exec(text) ?? []
  return { type, mode, owner: `${uid}:${gid}`, link: /Fast link dest: "(.*)"/.exec(text)?.[1] }
}
const vmsLeft = () => under.host.db.select({ id: vms.id }).from(vms).where(isNull(vms.endedAt))

describe("A function's disks", () => {
  test("have what its zips have, root's, with the modes that they say; layers are over those before them", async () => {
    const code = await give([
      { name: "index.mjs", content: "export const handler = 1\n", mode: 0o100640 },
      { name: "bin/", mode: DIRECTORY | 0o700 },
      { name: "bin/tool", content: "#!/bin/sh\n", mode: 0o100755 },
      { name: "deep/er/file", content: "x" },
      { name: "latest", content: "bin/tool", mode: LINK | 0o777 },
      { name: "outside", content: "/etc/passwd", mode: LINK | 0o777 },
    ])
    const lower = await give([
      { name: "python/who", content: "lower" },
      { name: "python/only-lower", content: "lower" },
      { name: "swap", content: "python", mode: LINK | 0o777 },
    ])
    const upper = await give([
      { name: "python/who", content: "upper" },
      { name: "swap/who", content: "upper" },
    ])
    kept.push(owner(code, [lower, upper]))
    await using disks = await openDisks()
    const [first, again] = await Promise.all([
      disks.store.of(owner(code, [lower, upper]), signal),
      disks.store.of(owner(code, [lower, upper], 1024), signal),
    ])
    expect(disks.built.length).toBe(2)
    expect([again.code, again.layers]).toEqual([first.code, first.layers])

    const root = { owner: "0:0", link: undefined }
    expect(await statOf(first.code, "/files")).toEqual({ ...root, type: "directory", mode: "0755" })
    expect(await statOf(first.code, "/files/index.mjs")).toEqual({ ...root, type: "regular", mode: "0640" })
    expect(await statOf(first.code, "/files/bin")).toEqual({ ...root, type: "directory", mode: "0700" })
    expect(await statOf(first.code, "/files/bin/tool")).toEqual({ ...root, type: "regular", mode: "0755" })
    expect(await statOf(first.code, "/files/deep/er")).toEqual({ ...root, type: "directory", mode: "0755" })
    expect(await statOf(first.code, "/files/latest")).toMatchObject({ type: "symlink", link: "bin/tool" })
    expect(await statOf(first.code, "/files/outside")).toMatchObject({ type: "symlink", link: "/etc/passwd" })
    expect(await ask(first.code, "cat /files/index.mjs")).toBe("export const handler = 1\n")

    const layers = first.layers ?? ""
    expect(await ask(layers, "cat /files/python/who")).toBe("upper")
    expect(await ask(layers, "cat /files/python/only-lower")).toBe("lower")
    expect(await statOf(layers, "/files/swap")).toMatchObject({ type: "directory" })
    expect(await runCommand("e2fsck", ["-fn", layers], { signal })).toContain("files (")

    // /tmp has the room that was asked for, and is anybody's.
    expect(await statOf(first.temporary, "/tmp")).toEqual({ ...root, type: "directory", mode: "01777" })
    const roomOf = async (disk: string) => {
      const text = await runCommand("dumpe2fs", ["-h", disk], { signal })
      const number = (name: string) => Number(new RegExp(`^${name}: +(\\d+)`, "m").exec(text)?.[1])
      // Of which a fiftieth, and no more than so many blocks, is the kernel's.
      const kernels = Math.min(number("Block count") / 50, 4096)
      return ((number("Free blocks") - kernels) * number("Block size")) / 1024 ** 2
    }
    expect(await roomOf(first.temporary)).toBeGreaterThanOrEqual(512)
    expect(await roomOf(first.temporary)).toBeLessThan(525)
    expect(await roomOf(again.temporary)).toBeGreaterThanOrEqual(1024)
    expect(await vmsLeft()).toEqual([])
  })

  test("are not made of a zip that leaves; nothing is left of it", async () => {
    const hostile: readonly (readonly RawEntry[])[] = [
      [{ name: "../evil", content: "x" }],
      [
        { name: "out", content: "/run", mode: LINK | 0o777 },
        { name: "out/evil", content: "x" },
      ],
    ]
    await using disks = await openDisks(kept)
    for (const outcome of await Promise.allSettled(
      hostile.map(async (entries) => disks.store.of(owner(await give(entries)), signal)),
    )) {
      expect(outcome).toMatchObject({ status: "rejected", reason: { code: "InvalidZipFileException" } })
    }
    const left = await readdir(join(under.places.dataDirectory, "functions/disks"))
    expect(left.filter((name) => !name.startsWith("temporary")).length).toBe(2)
    expect(await vmsLeft()).toEqual([])
  })

  test("stay from start to start while somebody needs them", async () => {
    const [first] = kept
    if (first === undefined) throw new Error("Nothing was made before")
    const other = { ...first, settings: { temporaryMiB: 700 } }
    const before = await (async () => {
      await using disks = await openDisks(kept)
      return [await disks.store.of(first, signal), await disks.store.of(other, signal)] as const
    })()
    await using disks = await openDisks(kept)
    expect(await disks.store.of(first, signal)).toEqual(before[0])
    expect(disks.built).toEqual([])
    expect(existsSync(before[1].temporary)).toBe(false)
    await using empty = await openDisks()
    expect(empty.built).toEqual([])
    expect(await readdir(join(under.places.dataDirectory, "functions/disks"))).toEqual([])
  })
})
