import { existsSync } from "node:fs"
import { mkdtemp, readFile, rm, utimes, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, expect, test } from "vitest"
import { createKeptCaches } from "../../machines/building/kept-caches.ts"

const scope = { account: "000000000000", region: "us-east-1" }
const { signal } = new AbortController()
const BYTES = 64 * 1024
let directory: string
let own: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "torpor-caches-"))
  own = join(directory, "own.raw")
  await writeFile(join(directory, "blank"), "blank")
})
afterEach(() => rm(directory, { recursive: true }))

const open = (maxBytes: number) =>
  createKeptCaches({ directory: join(directory, "caches"), blankDisk: join(directory, "blank"), maxBytes })
const fileOf = (image: string) => join(directory, "caches", scope.account, scope.region, `${image}.raw`)

test("A build has what the image's last one left, alone; who comes meanwhile begins with nothing", async () => {
  const caches = open(10 * BYTES)
  const first = await caches.take(scope, "app", own, signal)
  expect(await readFile(own, "utf8")).toBe("blank")
  await writeFile(own, "kept")
  await first.giveBack()
  await caches.take(scope, "app", own, signal)
  expect(await readFile(own, "utf8")).toBe("kept")
  await caches.take(scope, "app", `${own}-2`, signal)
  await caches.take(scope, "another", `${own}-3`, signal)
  for (const other of [`${own}-2`, `${own}-3`]) expect(await readFile(other, "utf8")).toBe("blank")
})

test("All together have a limit: the least recently used goes first, and one that is too large itself", async () => {
  const caches = open(2 * BYTES)
  const build = async (image: string, bytes: number) => {
    const taken = await caches.take(scope, image, own, signal)
    await writeFile(own, Buffer.alloc(bytes, 1))
    await taken.giveBack()
    await caches.trim()
  }
  const there = () => ["a", "b", "c", "d"].filter((image) => existsSync(fileOf(image)))
  await build("a", BYTES)
  await utimes(fileOf("a"), 2, 2)
  await build("b", BYTES)
  await utimes(fileOf("b"), 1, 1)
  await build("c", BYTES)
  expect(there()).toEqual(["a", "c"])
  await build("d", 3 * BYTES)
  expect(there()).toEqual([])
})
