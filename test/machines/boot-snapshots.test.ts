import { existsSync, readdirSync } from "node:fs"
import { mkdir, mkdtemp, readFile, rm, utimes, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import { afterEach, beforeEach, expect, test } from "vitest"
import { createBootSnapshots } from "../../machines/building/boot-snapshots.ts"
import { lock } from "../../src/file-lock.ts"

const signal = new AbortController().signal
const size = { memoryMiB: 512, vcpus: 1 }
const SYSTEM = "/cache/artifacts/system-1/disk.raw"

let directory: string
/** What is installed: a base that was made of something else is not current. */
let installed: string
let made: string[]
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "torpor-boots-"))
  ;[installed, made] = ["one", []]
})
afterEach(() => rm(directory, { recursive: true }))

const isCurrent = async (base: { directory: string }) =>
  (await readFile(join(base.directory, "made-of"), "utf8").catch(() => undefined)) === installed
/** One daemon's; each has its own. */
const open = (maxBytes = Infinity, system = SYSTEM) =>
  createBootSnapshots(join(directory, "boots"), system, { isCurrent }, maxBytes)
const make = (name: string) => async () => {
  made.push(name)
  const own = join(directory, name)
  await mkdir(own)
  await writeFile(join(own, "made-of"), installed)
  return own
}

test("A size's guest is made once, by the first of all daemons that asks, and kept for the others", async () => {
  const [one, other] = [open(), open()]
  const found = await Promise.all([
    one.of(size, make("a"), signal),
    one.of(size, make("b"), signal),
    other.of(size, make("c"), signal),
    other.of({ ...size, memoryMiB: 1024 }, make("large"), signal),
  ])
  expect(made.filter((name) => name !== "large")).toHaveLength(1)
  expect(new Set(found.slice(0, 3).map((base) => base.directory)).size).toBe(1)
  expect(found[3].directory).not.toBe(found[0].directory)
  for (const base of found) expect(await isCurrent(base)).toBe(true)
})

test("Who comes second makes it when the first has failed", async () => {
  const snapshots = open()
  const first = snapshots.of(size, () => Promise.reject(new Error("no boot")), signal)
  const second = snapshots.of(size, make("b"), signal)
  await expect(first).rejects.toThrow("no boot")
  expect(await isCurrent(await second)).toBe(true)
})

test("It is made again when something else is installed, and what a killed daemon left half-made goes", async () => {
  const { directory: before } = await open().of(size, make("a"), signal)
  await mkdir(join(directory, `boots/unfinished-${basename(before)}_by-somebody`))
  installed = "another"
  const { directory: after } = await open().of(size, make("b"), signal)
  expect(after).toBe(before)
  expect(made).toEqual(["a", "b"])
  expect(readdirSync(join(directory, "boots")).filter((name) => name.startsWith("unfinished"))).toEqual([])
  expect(existsSync(join(directory, "b"))).toBe(false)
})

test("One of another kind is made of the one that has booted, and beside it", async () => {
  const snapshots = open()
  const makeTrained = async () => {
    await snapshots.of(size, make("booted"), signal)
    return make("trained")()
  }
  const trained = await snapshots.of(size, makeTrained, signal, "trained")
  expect(await isCurrent(trained)).toBe(true)
  expect((await snapshots.of(size, make("again"), signal)).directory).not.toBe(trained.directory)
  expect(made).toEqual(["booted", "trained"])
})

test("Of what is there only what another system's disk booted goes when it is pruned", async () => {
  await open(Infinity, "/cache/artifacts/system-0/disk.raw").of(size, make("old"), signal)
  const snapshots = open()
  const { directory: mine } = await snapshots.of(size, make("new"), signal)
  const { count, bytes, reclaimableBytes } = await snapshots.usage()
  expect({ count, share: reclaimableBytes / bytes }).toEqual({ count: 2, share: 1 / 2 })
  expect(await snapshots.prune(signal)).toEqual({ count: 1, bytes: reclaimableBytes })
  expect(await isCurrent({ directory: mine })).toBe(true)
  expect(await snapshots.prune(signal)).toEqual({ count: 0, bytes: 0 })
})

test("Those that are not of use any more go when there are too many, the longest unused first, and none that somebody is at", async () => {
  const snapshots = open(0)
  const ages = { used: 0, old: 3, older: 4, locked: 5 }
  const found = new Map<string, string>()
  // As long as they are young none goes.
  for (const kind of Object.keys(ages)) found.set(kind, (await snapshots.of(size, make(kind), signal, kind)).directory)
  const there = async () => readdirSync(join(directory, "boots")).filter((name) => !name.startsWith("."))
  expect(await there()).toHaveLength(4)
  for (const [kind, hours] of Object.entries(ages)) {
    const at = new Date(Date.now() - hours * 3_600_000)
    await utimes(found.get(kind) ?? "", at, at)
  }
  // Asked for again it is young again.
  await snapshots.of(size, make("again"), signal, "old")
  await using _ = await lock(join(directory, "boots", `.${basename(found.get("locked") ?? "")}.lock`), signal)
  const { directory: last } = await snapshots.of(size, make("last"), signal, "last")
  const left = ["used", "old", "locked"].map((kind) => basename(found.get(kind) ?? ""))
  expect((await there()).toSorted()).toEqual([...left, basename(last)].toSorted())
})
