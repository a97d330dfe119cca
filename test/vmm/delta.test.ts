import { createHash, randomBytes } from "node:crypto"
import { copyFile, mkdtemp, readFile, rm, stat, truncate, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import fc from "fast-check"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { openDelta, writeDelta } from "../../src/vmm/memory/delta.ts"
import { SnapshotRefused } from "../../src/vmm/manifest.ts"
import { openBaseMemory, PAGE_BYTES } from "../../src/vmm/memory/memory-map.ts"
import { openFileMemory } from "./file-memory.ts"

const identity = {
  vmId: "0b7cf6f1-8a2c-4f6e-9f0e-5a1a5a1a5a1a",
  baseId: "3f0e7d2c-1111-4222-8333-444455556666",
  incarnation: 1,
}

let directory: string
let target: { file: string; state: string; incarnation: number }
let files: { base: string; ram: string; copy: string }
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "torpor-delta-"))
  target = { file: join(directory, "delta"), state: join(directory, "state"), incarnation: 1 }
  files = { base: join(directory, "base"), ram: join(directory, "ram"), copy: join(directory, "copy") }
  await writeFile(target.state, "devices")
})
afterEach(() => rm(directory, { recursive: true, force: true }))

const save = async (memory: Buffer, touched?: ReadonlySet<number>) => {
  await writeFile(files.ram, memory)
  await using map = await openFileMemory(files.ram, files.base, touched)
  await using base = await openBaseMemory(files.base)
  return await writeDelta(map, base, target, { ...identity, memoryPages: memory.length / PAGE_BYTES })
}
/** The base's memory with the delta in it. */
const load = async () => {
  await copyFile(files.base, files.copy)
  await using delta = await openDelta(target)
  await using map = await openFileMemory(files.copy, files.base)
  await delta.load(map)
  return await readFile(files.copy)
}

const sha256 = (seed: number) => createHash("sha256").update(String(seed)).digest()
/** Few different pages, so that zero, unchanged and changed ones meet in every order. */
const page = fc.oneof(
  { weight: 3, arbitrary: fc.constant(Buffer.alloc(PAGE_BYTES)) },
  { weight: 3, arbitrary: fc.nat({ max: 2 }).map((letter) => Buffer.alloc(PAGE_BYTES, letter + 65)) },
  { weight: 1, arbitrary: fc.nat().map((seed) => Buffer.alloc(PAGE_BYTES, sha256(seed))) },
  // All but zero: its only byte is the last.
  { weight: 1, arbitrary: fc.constant(Buffer.concat([Buffer.alloc(PAGE_BYTES - 1), Buffer.from([1])])) },
)
const memories = (count: number) =>
  fc.integer({ min: 1, max: 24 }).chain((pages) =>
    fc.array(fc.array(page, { minLength: pages, maxLength: pages }).map(Buffer.concat), {
      minLength: count,
      maxLength: count,
    }),
  )

describe("A delta", () => {
  test("loaded into the base is the memory that was saved, however often it slept and whatever it touched", async () => {
    await fc.assert(
      fc.asyncProperty(
        memories(3),
        fc.uniqueArray(fc.nat({ max: 23 })),
        async ([base = Buffer.alloc(0), ...lives], touched) => {
          await writeFile(files.base, base)
          for (const memory of lives) {
            const inside = touched.filter((number) => number * PAGE_BYTES < memory.length)
            await save(memory, new Set(inside))
            expect((await load()).equals(memory)).toBe(true)
          }
        },
      ),
      { numRuns: 40 },
    )
  })

  test("says that a page is zero now and wasn't in the base, and holds no data for it", async () => {
    await writeFile(files.base, Buffer.alloc(8 * PAGE_BYTES, "x"))
    const sizes = await save(Buffer.alloc(8 * PAGE_BYTES))
    expect(sizes.pages).toBe(0)
    expect((await load()).equals(Buffer.alloc(8 * PAGE_BYTES))).toBe(true)
  })

  test("of nothing changed is the base", async () => {
    const memory = randomBytes(3 * PAGE_BYTES)
    await writeFile(files.base, memory)
    expect((await save(memory)).pages).toBe(0)
    expect((await load()).equals(memory)).toBe(true)
  })

  test("holds runs far longer than what is read at once", async () => {
    const memory = Buffer.concat([Buffer.alloc(10 * PAGE_BYTES), randomBytes(2500 * PAGE_BYTES)])
    await writeFile(files.base, Buffer.alloc(memory.length))
    expect((await save(memory)).pages).toBe(2500)
    expect((await load()).equals(memory)).toBe(true)
  })

  test("holds more short extents of either kind than are read or written at once", async () => {
    const [base, memory] = [Buffer.alloc(4000 * PAGE_BYTES, "base"), Buffer.alloc(4000 * PAGE_BYTES, "base")]
    for (let number = 0; number < 4000; number++) {
      const bytes = memory.subarray(number * PAGE_BYTES, (number + 1) * PAGE_BYTES)
      // Unchanged, zero, and data of its own, in runs of every short length.
      if (number % 7 === 0 || number % 11 === 0) bytes.fill(0)
      else if (number % 13 !== 0) bytes.fill(`page ${number}`)
    }
    await writeFile(files.base, base)
    await save(memory)
    expect((await load()).equals(memory)).toBe(true)
  })

  test("carries whose memory it is, of which life, and how much", async () => {
    await writeFile(files.base, Buffer.alloc(2 * PAGE_BYTES))
    await save(randomBytes(2 * PAGE_BYTES))
    await using delta = await openDelta(target)
    expect(delta.header).toMatchObject({ ...identity, memoryPages: 2 })
  })

  test("is refused, or right all the same, whichever byte of its file is altered", async () => {
    const memory = Buffer.concat([randomBytes(2 * PAGE_BYTES), Buffer.alloc(PAGE_BYTES), randomBytes(PAGE_BYTES)])
    await writeFile(files.base, Buffer.alloc(memory.length, "x"))
    await save(memory)
    const whole = await readFile(target.file)
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: whole.length - 1 }), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
        const altered = Buffer.from(whole)
        altered.writeUInt8(altered.readUInt8(at) ^ flip, at)
        await writeFile(target.file, altered)
        const loaded = await load().catch((error: unknown) => error)
        if (loaded instanceof Buffer) expect(loaded.equals(memory)).toBe(true)
        else expect(loaded).toBeInstanceOf(SnapshotRefused)
      }),
      { numRuns: 200 },
    )
  })

  test("is refused by the number of its altered pages", async () => {
    await writeFile(files.base, Buffer.alloc(4 * PAGE_BYTES))
    await save(Buffer.concat([Buffer.alloc(2 * PAGE_BYTES), randomBytes(2 * PAGE_BYTES)]))
    const whole = await readFile(target.file)
    await writeFile(target.file, whole.fill((whole.at(-1) ?? 0) ^ 1, whole.length - 1))
    await expect(load()).rejects.toThrow("The delta's pages from 2 on are altered")
  })

  test("is refused at every shorter and any greater length", async () => {
    await writeFile(files.base, Buffer.alloc(2 * PAGE_BYTES))
    await save(randomBytes(2 * PAGE_BYTES))
    const whole = await readFile(target.file)
    const lengths = [0, 1, 15, 16, 127, 128, 143, 144, 4095, 4096, 4097, 8191, 8192, whole.length - 1]
    for (const length of lengths) {
      await truncate(target.file, length)
      await expect(openDelta(target), `${length} bytes`).rejects.toThrow(SnapshotRefused)
      await writeFile(target.file, whole)
    }
    await writeFile(target.file, Buffer.concat([whole, Buffer.alloc(1)]))
    await expect(openDelta(target)).rejects.toThrow(SnapshotRefused)
  })

  test("is refused when there is none, or something else in its place", async () => {
    await expect(openDelta(target)).rejects.toThrow(new SnapshotRefused("The delta is missing"))
    await writeFile(target.file, randomBytes(9000))
    await expect(openDelta(target)).rejects.toThrow(new SnapshotRefused("The delta is not one"))
  })

  test.for<[what: string, spoil: (state: string) => Promise<void>]>([
    ["missing", (state) => rm(state)],
    ["truncated", (state) => truncate(state, 6)],
    ["another's", (state) => writeFile(state, "DEVICES")],
  ])("is refused when its device state is %s", async ([, spoil]) => {
    await writeFile(files.base, Buffer.alloc(PAGE_BYTES))
    await save(randomBytes(PAGE_BYTES))
    await spoil(target.state)
    await expect(load()).rejects.toThrow("The device state is missing, altered, or another snapshot's")
  })

  test("replaces an older and longer one entirely", async () => {
    await writeFile(files.base, Buffer.alloc(64 * PAGE_BYTES))
    await save(randomBytes(64 * PAGE_BYTES))
    const { size } = await stat(target.file)
    const memory = Buffer.alloc(64 * PAGE_BYTES)
    memory.write("little", 5 * PAGE_BYTES)
    expect((await save(memory)).pages).toBe(1)
    expect((await stat(target.file)).size).toBeLessThan(size)
    expect((await load()).equals(memory)).toBe(true)
  })
})
