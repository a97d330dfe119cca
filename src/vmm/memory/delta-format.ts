/**
 * A delta file: the pages of a VM's memory that differ from its base's.
 *
 *   header (128 bytes) │ extent table (16 bytes each) │ zeros up to a page │ data of the data extents, in their order
 *
 * An extent says that `count` pages from `start` on hold data, or are zero now: a hole would mean "as in the base", which is something
 * else. The header carries whose memory it is and of which life, the digest of the device state it belongs to, and a digest over
 * itself and the table; every data extent has a checksum of its own.
 */
import { createHash } from "node:crypto"
import { PAGE_BYTES } from "./memory-map.ts"
import { SnapshotRefused } from "../manifest.ts"

export type Extent =
  | { readonly kind: "zero"; readonly start: number; readonly count: number }
  | { readonly kind: "data"; readonly start: number; readonly count: number; readonly crc32: number }

export interface DeltaHeader {
  readonly vmId: string
  readonly baseId: string
  /** The life whose memory it is. */
  readonly incarnation: number
  readonly memoryPages: number
  /** SHA-256 of the device state, 64 hex digits. */
  readonly stateSha256: string
  /** Where the data begins, a whole number of pages. */
  readonly dataOffset: number
}

const MAGIC = Buffer.from("TORPORDELTA\0\0\0\0\x01", "latin1")
export const HEADER_BYTES = 128
const ENTRY_BYTES = 16
const KINDS = ["data", "zero"] as const
/** Pages per extent: bounds the buffer that one is read into, and what one checksum vouches for. */
export const MAX_EXTENT_PAGES = 1024
/** More extents than any guest has pages for would only be a way to make us allocate. */
const MAX_EXTENTS = 8 * 1024 * 1024

const uuidBytes = (uuid: string) => Buffer.from(uuid.replaceAll("-", ""), "hex")
const uuidText = (bytes: Buffer) => bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5")
const digestOf = (header: Buffer, table: Buffer) =>
  createHash("sha256").update(header.subarray(0, 96)).update(table).digest()

/** The smallest offset at which data can begin behind a table of `extents` entries. */
export const roomFor = (extents: number) => Math.ceil((HEADER_BYTES + extents * ENTRY_BYTES) / PAGE_BYTES) * PAGE_BYTES

/** Header and table; between them and the data may be a hole. */
export const encodeDelta = (header: DeltaHeader, extents: readonly Extent[]): Buffer => {
  const bytes = Buffer.alloc(HEADER_BYTES + extents.length * ENTRY_BYTES)
  const table = bytes.subarray(HEADER_BYTES, HEADER_BYTES + extents.length * ENTRY_BYTES)
  MAGIC.copy(bytes, 0)
  bytes.writeUInt32LE(extents.length, 16)
  bytes.writeUInt32LE(header.memoryPages, 20)
  uuidBytes(header.vmId).copy(bytes, 24)
  uuidBytes(header.baseId).copy(bytes, 40)
  Buffer.from(header.stateSha256, "hex").copy(bytes, 56)
  bytes.writeUInt32LE(header.dataOffset / PAGE_BYTES, 88)
  bytes.writeUInt32LE(header.incarnation, 92)
  extents.forEach((extent, index) => {
    table.writeUInt32LE(extent.start, index * ENTRY_BYTES)
    table.writeUInt32LE(extent.count, index * ENTRY_BYTES + 4)
    table.writeUInt32LE(KINDS.indexOf(extent.kind), index * ENTRY_BYTES + 8)
    table.writeUInt32LE(extent.kind === "data" ? extent.crc32 : 0, index * ENTRY_BYTES + 12)
  })
  digestOf(bytes, table).copy(bytes, 96)
  return bytes
}

/** How long header and table are, by what the header says; the digest is checked by {@link decodeDelta}. */
export const tableEnd = (header: Buffer): number => HEADER_BYTES + extentCount(header) * ENTRY_BYTES

const extentCount = (header: Buffer): number => {
  if (header.length < HEADER_BYTES || !header.subarray(0, MAGIC.length).equals(MAGIC))
    throw new SnapshotRefused("The delta is not one")
  const count = header.readUInt32LE(16)
  if (count > MAX_EXTENTS) throw new SnapshotRefused("The delta has too many extents")
  return count
}

/** Reads header and table back; throws {@link SnapshotRefused} unless all of it is whole, in order and inside the guest's memory. */
export const decodeDelta = (bytes: Buffer): { header: DeltaHeader; extents: Extent[] } => {
  const count = extentCount(bytes)
  const table = bytes.subarray(HEADER_BYTES, HEADER_BYTES + count * ENTRY_BYTES)
  if (table.length !== count * ENTRY_BYTES || !digestOf(bytes, table).equals(bytes.subarray(96, 128)))
    throw new SnapshotRefused("The delta's extent table is altered or truncated")
  const header: DeltaHeader = {
    memoryPages: bytes.readUInt32LE(20),
    vmId: uuidText(bytes.subarray(24, 40)),
    baseId: uuidText(bytes.subarray(40, 56)),
    stateSha256: bytes.subarray(56, 88).toString("hex"),
    dataOffset: bytes.readUInt32LE(88) * PAGE_BYTES,
    incarnation: bytes.readUInt32LE(92),
  }
  if (header.dataOffset < roomFor(count)) throw new SnapshotRefused("The delta's data begins inside its table")
  const extents: Extent[] = []
  let end = 0
  for (let at = 0; at < table.length; at += ENTRY_BYTES) {
    const [start, pages, kind] = [table.readUInt32LE(at), table.readUInt32LE(at + 4), KINDS[table.readUInt32LE(at + 8)]]
    if (kind === undefined || pages === 0 || start < end || start + pages > header.memoryPages)
      throw new SnapshotRefused("The delta's extents overlap, are out of order or leave the guest's memory")
    if (pages > MAX_EXTENT_PAGES) throw new SnapshotRefused("An extent of the delta is too long")
    end = start + pages
    extents.push(
      kind === "zero"
        ? { kind, start, count: pages }
        : { kind, start, count: pages, crc32: table.readUInt32LE(at + 12) },
    )
  }
  return { header, extents }
}
