import { existsSync } from "node:fs"
import { link, mkdtemp, rm, utimes, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pino } from "pino"
import { expect, onTestFinished, test } from "vitest"
import { openDiskStore } from "../../../machines/functions/disks/disk-store.ts"
import type { DiskOwner } from "../../../machines/functions/disks/function-disks.ts"

const { signal } = new AbortController()
const MiB = 1024 ** 2
const ownerOf = (code: string): DiskOwner => ({ code, layers: [], settings: { temporaryMiB: 512 } })

const openDisks = async (maxBytes: number, codes: readonly string[], holders: readonly string[] = []) => {
  const directory = await mkdtemp(join(tmpdir(), "torpor-disks-"))
  onTestFinished(() => rm(directory, { recursive: true }))
  const built: string[] = []
  const store = await openDiskStore({
    directory,
    build: async (zips, to) => {
      built.push(...zips)
      await writeFile(to, Buffer.alloc(MiB, 1))
    },
    owners: () => Promise.resolve(codes.map(ownerOf)),
    maxConcurrentBuilds: 1,
    maxBytes,
    holders,
    log: pino({ level: "silent" }),
  })
  onTestFinished(() => store[Symbol.asyncDispose]())
  /** Makes it, as it is when nobody has asked for it for an hour. */
  const makeOld = async (code: string, hours: number, then: (file: string) => Promise<void> = async () => {}) => {
    const made = await store.of(ownerOf(code), signal)
    await then(made.code)
    const at = new Date(Date.now() - hours * 3_600_000)
    await utimes(made.code, at, at)
    return made.code
  }
  return { directory, built, store, makeOld }
}

test("Disks beyond their room go, the longest unused first, though functions need them; they are made again when they are wanted", async () => {
  const { built, store, makeOld } = await openDisks(3.5 * MiB, ["a", "b", "c", "d"])
  const [a, b, c] = [await makeOld("a", 2), await makeOld("b", 3), await makeOld("c", 1)]
  const { code: d } = await store.of(ownerOf("d"), signal)
  await expect.poll(() => [a, b, c, d].map((file) => existsSync(file))).toEqual([true, false, true, true])
  expect((await store.of(ownerOf("b"), signal)).code).toBe(b)
  expect(built).toEqual(["a", "b", "c", "d", "b"])
  expect(existsSync(b)).toBe(true)
})

test("Disks that were asked for a moment ago, or that a VM has, stay however little room there is", async () => {
  const { directory, store, makeOld } = await openDisks(0, ["a", "b", "c"])
  const ofVm = `${directory}-of-a-vm.raw`
  onTestFinished(() => rm(ofVm))
  const a = await makeOld("a", 2, (file) => link(file, ofVm))
  const { code: b } = await store.of(ownerOf("b"), signal)
  const old = await makeOld("c", 2)
  await store.of(ownerOf("d"), signal)
  await expect.poll(() => existsSync(old)).toBe(false)
  expect([a, b].map((file) => existsSync(file))).toEqual([true, true])
})

test("Disks stay where VMs are on another file system: nothing tells which they have", async () => {
  const { store, makeOld } = await openDisks(0, ["a"], ["/proc"])
  const a = await makeOld("a", 2)
  await store.of(ownerOf("b"), signal)
  await store[Symbol.asyncDispose]()
  expect(existsSync(a)).toBe(true)
})
