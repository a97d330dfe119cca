import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { fromPlace, refuseLostDisk, toPlace, type Places } from "../../machines/disks.ts"

let root: string
let places: Places
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "torpor-disks-"))
  places = { cacheDirectory: join(root, "cache"), dataDirectory: join(root, "data") }
})
afterAll(() => rm(root, { recursive: true }))

/** The places of disks that are there, one of each kind. */
const putDisks = async () => {
  const disks = ["cache:artifacts/system-1/disk.raw", "cache:artifacts/base-1/disk.raw", "data:bases/1/root.qcow2"]
  for (const disk of disks) {
    const file = fromPlace(places, disk)
    await mkdir(join(file, ".."), { recursive: true })
    await writeFile(file, "")
    expect(toPlace(places, file)).toBe(disk)
  }
  const [systemDisk, ...rootDisk] = disks as [string, ...string[]]
  return { disks, base: { systemDisk, rootDisk } }
}

describe("A base", () => {
  test("whose disks are all here is not refused", async () => {
    const { base } = await putDisks()
    expect(() => refuseLostDisk(places, base)).not.toThrow()
  })

  test("that has lost any of its disks is refused by its name, with what to do", async () => {
    const { disks, base } = await putDisks()
    for (const lost of disks) {
      const file = fromPlace(places, lost)
      await rm(file)
      expect(() => refuseLostDisk(places, base)).toThrow(
        `a disk that is gone from this host (${lost}): build another version of the image`,
      )
      await writeFile(file, "")
    }
  })
})
