import { createHash } from "node:crypto"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { decodeDelta, encodeDelta, roomFor, type DeltaHeader, type Extent } from "../../src/vmm/memory/delta-format.ts"
import { SnapshotRefused } from "../../src/vmm/manifest.ts"
import { PAGE_BYTES } from "../../src/vmm/memory/memory-map.ts"

const MEMORY_PAGES = 131_072
const u32 = fc.integer({ min: 0, max: 0xffff_ffff })
const uuid = fc.uuid({ version: [1, 2, 3, 4, 5, 6, 7, 8] })
const sha256 = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString("hex"))

/** In order, none over another, all inside the guest's memory. */
const extents = fc
  .array(
    fc.record({
      gap: fc.nat({ max: 900 }),
      count: fc.integer({ min: 1, max: 1024 }),
      zero: fc.boolean(),
      crc32: u32,
    }),
    { maxLength: 40 },
  )
  .map((parts) => {
    let end = 0
    return parts.map(({ gap, count, zero, crc32 }): Extent => {
      const start = end + gap
      end = start + count
      return zero ? { kind: "zero", start, count } : { kind: "data", start, count, crc32 }
    })
  })

const delta = extents.chain((table) =>
  fc.record({
    extents: fc.constant(table),
    header: fc.record<DeltaHeader>({
      vmId: uuid,
      baseId: uuid,
      incarnation: u32,
      memoryPages: fc.integer({ min: MEMORY_PAGES, max: 0xffff_ffff }),
      stateSha256: sha256,
      dataOffset: fc.nat({ max: 1000 }).map((pages) => roomFor(table.length) + pages * PAGE_BYTES),
    }),
  }),
)

const header: DeltaHeader = {
  vmId: "0b7cf6f1-8a2c-4f6e-9f0e-5a1a5a1a5a1a",
  baseId: "3f0e7d2c-1111-4222-8333-444455556666",
  incarnation: 3,
  memoryPages: MEMORY_PAGES,
  stateSha256: "ab".repeat(32),
  dataOffset: roomFor(8),
}
const data = (start: number, count: number): Extent => ({ kind: "data", start, count, crc32: 0 })
const zero = (start: number, count: number): Extent => ({ kind: "zero", start, count })

describe("A delta's header and extent table", () => {
  test("come back as they were written, whatever they say", () => {
    fc.assert(
      fc.property(delta, (written) => {
        expect(decodeDelta(encodeDelta(written.header, written.extents))).toEqual(written)
      }),
    )
  })

  test("are refused when a single byte of them is another", () => {
    fc.assert(
      fc.property(delta, fc.nat(), fc.integer({ min: 1, max: 255 }), (written, place, flip) => {
        const bytes = encodeDelta(written.header, written.extents)
        const at = place % bytes.length
        bytes.writeUInt8(bytes.readUInt8(at) ^ flip, at)
        expect(() => decodeDelta(bytes)).toThrow(SnapshotRefused)
      }),
      { numRuns: 2000 },
    )
  })

  test("are refused when they end early, wherever that is", () => {
    const bytes = encodeDelta(header, [data(0, 4), zero(9, 1), data(10, 1024)])
    for (let length = 0; length < bytes.length; length++)
      expect(() => decodeDelta(bytes.subarray(0, length)), `${length} bytes`).toThrow(SnapshotRefused)
  })

  test("are refused when they claim more extents than any guest has pages", () => {
    const bytes = encodeDelta(header, [data(0, 1)])
    bytes.writeUInt32LE(0xffff_ffff, 16)
    expect(() => decodeDelta(bytes)).toThrow("The delta has too many extents")
  })

  test.for<[what: string, table: Extent[]]>([
    ["overlap", [data(0, 4), data(3, 1)]],
    ["overlap as data and zero", [zero(0, 4), data(3, 2)]],
    ["say a page twice", [data(7, 1), zero(7, 1)]],
    ["are out of order", [data(8, 1), data(2, 1)]],
    ["begin behind the guest's memory", [data(MEMORY_PAGES, 1)]],
    ["end behind the guest's memory", [zero(MEMORY_PAGES - 1, 2)]],
    ["are longer than a number can say", [data(0xffff_ffff, 0xffff_ffff)]],
    ["have no pages", [data(5, 0)]],
    ["have no pages and are zero", [zero(5, 0)]],
  ])("are refused when extents %s, though the digest is right", ([, table]) => {
    expect(() => decodeDelta(encodeDelta(header, table))).toThrow(
      new SnapshotRefused("The delta's extents overlap, are out of order or leave the guest's memory"),
    )
  })

  test("are refused when an extent is longer than what is read at once, though the digest is right", () => {
    for (const extent of [data(0, 1025), zero(0, 1025)])
      expect(() => decodeDelta(encodeDelta(header, [extent]))).toThrow("An extent of the delta is too long")
  })

  test("are refused when an extent is neither data nor zero, though the digest is right", () => {
    const bytes = encodeDelta(header, [data(0, 1)])
    bytes.writeUInt32LE(2, 128 + 8)
    createHash("sha256").update(bytes.subarray(0, 96)).update(bytes.subarray(128)).digest().copy(bytes, 96)
    expect(() => decodeDelta(bytes)).toThrow(/The delta's extents overlap/)
  })

  test("are refused when the data would begin inside them", () => {
    const table = Array.from({ length: 300 }, (_, index) => data(index, 1))
    expect(() => decodeDelta(encodeDelta({ ...header, dataOffset: PAGE_BYTES }, table))).toThrow(
      "The delta's data begins inside its table",
    )
  })
})
