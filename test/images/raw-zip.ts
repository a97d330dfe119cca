/** Zips written byte by byte, so that they can lie. */
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { crc32, deflateRawSync } from "node:zlib"

export interface RawEntry {
  readonly name: string | Buffer
  readonly content?: string | Buffer
  /** Type and permission bits, as Unix has them. */
  readonly mode?: number
  readonly flags?: number
  readonly method?: 0 | 8 | 12
  readonly crc?: number
  /** What the directory claims. */
  readonly unpackedBytes?: number
  readonly packedBytes?: number
  /** Another entry's local header, by number, in place of one of its own. */
  readonly at?: number
}

const UTF8 = 0x800

/** The bytes of a zip of such entries. */
export const rawZip = (entries: readonly RawEntry[]): Buffer => {
  const pieces: Buffer[] = []
  const directory: Buffer[] = []
  const offsets: number[] = []
  let offset = 0
  for (const entry of entries) {
    const content = Buffer.from(entry.content ?? "")
    const method = entry.method ?? 8
    const packed = method === 8 ? deflateRawSync(content) : content
    const name = Buffer.from(entry.name)
    const common = Buffer.alloc(26)
    common.writeUInt16LE(20, 0)
    common.writeUInt16LE(entry.flags ?? UTF8, 2)
    common.writeUInt16LE(method, 4)
    common.writeUInt32LE(0x5a21_0000, 6)
    common.writeUInt32LE(entry.crc ?? crc32(content), 10)
    common.writeUInt32LE(entry.packedBytes ?? packed.length, 14)
    common.writeUInt32LE(entry.unpackedBytes ?? content.length, 18)
    common.writeUInt16LE(name.length, 22)
    const local = Buffer.concat([Buffer.from("PK\x03\x04", "latin1"), common, name, packed])
    offsets.push(entry.at === undefined ? offset : (offsets[entry.at] ?? 0))
    const rest = Buffer.alloc(14)
    rest.writeUInt32LE(((entry.mode ?? 0o100644) << 16) >>> 0, 6)
    rest.writeUInt32LE(offsets.at(-1) ?? 0, 10)
    directory.push(Buffer.from("PK\x01\x02\x14\x03", "latin1"), common, rest, name)
    if (entry.at !== undefined) continue
    pieces.push(local)
    offset += local.length
  }
  const central = Buffer.concat(directory)
  const end = Buffer.alloc(18)
  end.writeUInt16LE(Math.min(entries.length, 0xffff), 4)
  end.writeUInt16LE(Math.min(entries.length, 0xffff), 6)
  end.writeUInt32LE(central.length, 8)
  end.writeUInt32LE(offset, 12)
  return Buffer.concat([...pieces, central, Buffer.from("PK\x05\x06", "latin1"), end])
}

/** A file that is gone with its owner. */
export const temporaryFile = async (bytes: Buffer): Promise<AsyncDisposable & { path: string }> => {
  const directory = await mkdtemp(join(tmpdir(), "torpor-zip-"))
  const path = join(directory, "archive.zip")
  await writeFile(path, bytes)
  return { path, [Symbol.asyncDispose]: () => rm(directory, { recursive: true }) }
}
