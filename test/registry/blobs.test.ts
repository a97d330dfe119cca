import { execFileSync } from "node:child_process"
import { randomBytes } from "node:crypto"
import { readdirSync, statSync } from "node:fs"
import { link, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { openBlobs, type Blobs } from "../../images/registry/blobs.ts"
import { digestOf } from "../../images/registry/manifest.ts"

const CONTENT = randomBytes(3_000_000)
const blob = { digest: digestOf(CONTENT), bytes: CONTENT.length }

let directory: string
let fetched: string
let blobs: Blobs
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "torpor-blobs-"))
  fetched = join(directory, "fetched")
  blobs = await openBlobs(join(directory, "cache"))
})
afterEach(() => rm(directory, { recursive: true }))

test("A layer that is what it should be is taken over: it is root's, read-only, and no longer where it was", async () => {
  await writeFile(fetched, CONTENT, { mode: 0o666 })
  execFileSync("chown", ["600000:600000", fetched])
  await blobs.take(blob, fetched)
  expect(CONTENT.equals(await readFile(blobs.fileOf(blob.digest)))).toBe(true)
  expect(statSync(blobs.fileOf(blob.digest))).toMatchObject({ uid: 0, gid: 0, mode: 0o100444 })
  expect(readdirSync(directory)).toEqual(["cache"])
  expect(await blobs.has(blob)).toBe(true)
})

describe("What was fetched is not taken over, and no other file is touched, when it is", () => {
  test.each<[what: string, make: (secret: string) => unknown, why: RegExp]>([
    ["a link to a file of the host's", (secret) => symlink(secret, fetched), /is no file/],
    ["a second name of a file of the host's", (secret) => link(secret, fetched), /is something else/],
    ["a pipe", () => execFileSync("mkfifo", [fetched]), /is something else/],
    ["not there", () => {}, /has no layer/],
    ["shorter", () => writeFile(fetched, CONTENT.subarray(1)), /is something else/],
    ["another", () => writeFile(fetched, randomBytes(CONTENT.length)), /is something else/],
  ])("%s", async (_, make, why) => {
    const secret = join(directory, "secret")
    await writeFile(secret, CONTENT, { mode: 0o600 })
    await make(secret)
    await expect(blobs.take(blob, fetched)).rejects.toThrow(why)
    expect(statSync(secret).mode).toBe(0o100600)
    expect(await blobs.has(blob)).toBe(false)
  })
})

test("A text is kept only under its own digest, and one that was damaged is as good as not there", async () => {
  await blobs.put(digestOf("text"), "text")
  expect(await blobs.read(digestOf("text"))).toBe("text")
  await expect(blobs.put(digestOf("text"), "another")).rejects.toThrow(/is something else/)
  await writeFile(blobs.fileOf(digestOf("text")), "texx")
  expect(await blobs.read(digestOf("text"))).toBeUndefined()
})

test("Two who keep the same text at once don't disturb each other", async () => {
  await Promise.all(Array.from({ length: 20 }, () => blobs.put(digestOf("text"), "text")))
  expect(await blobs.read(digestOf("text"))).toBe("text")
  expect(readdirSync(join(directory, "cache/blobs/sha256"))).toHaveLength(1)
})
