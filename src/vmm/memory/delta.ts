/** A sleeping VM's memory on disk: written from a paused process, verified and synced; checked as it is loaded, so that who loads it begins nothing before the end. */
import { open, type FileHandle } from "node:fs/promises"
import { dirname } from "node:path"
import { crc32 } from "node:zlib"
import { failpoint } from "../../failpoint.ts"
import {
  decodeDelta,
  encodeDelta,
  HEADER_BYTES,
  MAX_EXTENT_PAGES,
  roomFor,
  tableEnd,
  type DeltaHeader,
  type Extent,
} from "./delta-format.ts"
import { digestOf, SnapshotRefused } from "../manifest.ts"
import { PAGE_BYTES, type MemoryMap, type PageRun } from "./memory-map.ts"
import type { DeltaPaths, DeltaSizes } from "../vmm.ts"

const ZERO_PAGE = Buffer.alloc(PAGE_BYTES)

/**
 * Writes what a paused VM has changed of its base: pages that hold what they held there are none of it. Resolves when file and directory are on disk and the file, read back, is what was meant.
 * The device state is there already.
 */
export const writeDelta = async (
  memory: MemoryMap,
  base: Pick<MemoryMap, "read">,
  target: DeltaPaths,
  identity: Omit<DeltaHeader, "stateSha256" | "dataOffset">,
): Promise<DeltaSizes> => {
  const runs = splitRuns(await memory.changed())
  // A run may turn into as many extents as it has pages: room is kept for the worst, and the rest of it is a hole.
  const dataOffset = roomFor(runs.reduce((sum, { count }) => sum + count, 0))
  await using file = await open(target.file, "w", 0o600)
  const buffer = Buffer.allocUnsafe(MAX_EXTENT_PAGES * PAGE_BYTES)
  const before = Buffer.allocUnsafe(MAX_EXTENT_PAGES * PAGE_BYTES)
  const extents: Extent[] = []
  let position = dataOffset
  for (const batch of toBatches(runs)) {
    let filled = 0
    for (const run of batch) {
      const pages = buffer.subarray(filled, filled + run.count * PAGE_BYTES)
      const old = before.subarray(0, pages.length)
      memory.read(pages, run.start)
      base.read(old, run.start)
      for (const extent of toExtents(run, pages, old)) {
        extents.push(extent)
        if (extent.kind === "zero") continue
        // Together, over what is not data: a batch is written in one go.
        const from = (extent.start - run.start) * PAGE_BYTES
        pages.copy(buffer, filled, from, from + extent.count * PAGE_BYTES)
        filled += extent.count * PAGE_BYTES
      }
    }
    await writeAll(file, buffer.subarray(0, filled), position)
    position += filled
    failpoint("sleep: delta begun")
  }
  const header = { ...identity, dataOffset, stateSha256: await digestOf(target.state) }
  await writeAll(file, encodeDelta(header, extents), 0)
  await file.truncate(position)
  await using state = await open(target.state, "r")
  await using directory = await open(dirname(target.file), "r")
  await using delta = await openDelta(target)
  await Promise.all([file.sync(), state.sync(), directory.sync(), delta.verify()])
  return { pages: (position - dataOffset) / PAGE_BYTES, bytes: (await file.stat()).blocks * 512 }
}

const splitRuns = (runs: PageRun[]): PageRun[] =>
  runs.flatMap(({ start, count }) =>
    Array.from({ length: Math.ceil(count / MAX_EXTENT_PAGES) }, (_, index) => ({
      start: start + index * MAX_EXTENT_PAGES,
      count: Math.min(MAX_EXTENT_PAGES, count - index * MAX_EXTENT_PAGES),
    })),
  )

/** Parts a run's pages into data and zero, each with as many pages as follow one another; those that are what they were are left out. */
function* toExtents(run: PageRun, pages: Buffer, before: Buffer): Generator<Extent> {
  const kindOf = (page: number): Extent["kind"] | "same" => {
    const [from, to] = [page * PAGE_BYTES, (page + 1) * PAGE_BYTES]
    const content = pages.subarray(from, to)
    if (content.equals(before.subarray(from, to))) return "same"
    return content.equals(ZERO_PAGE) ? "zero" : "data"
  }
  for (let first = 0; first < run.count;) {
    const kind = kindOf(first)
    let next = first + 1
    while (next < run.count && kindOf(next) === kind) next++
    const place = { start: run.start + first, count: next - first }
    if (kind === "zero") yield { kind, ...place }
    else if (kind === "data")
      yield { kind, ...place, crc32: crc32(pages.subarray(first * PAGE_BYTES, next * PAGE_BYTES)) }
    first = next
  }
}

/** Neighbours in as few pieces as fit into the buffer: a call for each run or extent costs more than what it moves. */
function* toBatches<Item extends { readonly count: number }>(items: Iterable<Item>): Generator<Item[]> {
  let batch: Item[] = []
  let pages = 0
  for (const item of items) {
    if (pages + item.count > MAX_EXTENT_PAGES) {
      yield batch
      batch = []
      pages = 0
    }
    batch.push(item)
    pages += item.count
  }
  if (batch.length > 0) yield batch
}

const writeAll = async (file: FileHandle, bytes: Buffer, position: number) => {
  for (let done = 0; done < bytes.length;)
    done += (await file.write(bytes, done, bytes.length - done, position + done)).bytesWritten
}

export interface Delta extends AsyncDisposable {
  readonly header: DeltaHeader
  /** Reads all of it and compares every checksum, the device state's too; throws {@link SnapshotRefused}. */
  verify(): Promise<void>
  /** The same, and puts the pages into a process that has loaded nothing yet, and is of no use where this throws. */
  load(memory: Pick<MemoryMap, "write">): Promise<void>
}

/** Opens a delta and checks header, table and length; throws {@link SnapshotRefused}. The caller disposes it. */
export const openDelta = async ({ file: path, state }: DeltaPaths): Promise<Delta> => {
  const file = await open(path, "r").catch(() => {
    throw new SnapshotRefused("The delta is missing")
  })
  try {
    const { header, extents } = await readTable(file)
    const pages = extents.reduce((sum, extent) => sum + (extent.kind === "data" ? extent.count : 0), 0)
    if ((await file.stat()).size !== header.dataOffset + pages * PAGE_BYTES)
      throw new SnapshotRefused("The delta is truncated")

    const checkEach = async (use: (extent: Extent & { kind: "data" }, bytes: Buffer) => void) => {
      if ((await digestOf(state).catch(() => "")) !== header.stateSha256)
        throw new SnapshotRefused("The device state is missing, altered, or another snapshot's")
      const buffer = Buffer.allocUnsafe(Math.min(pages, MAX_EXTENT_PAGES) * PAGE_BYTES)
      let position = header.dataOffset
      for (const batch of toBatches(extents.filter((extent) => extent.kind === "data"))) {
        const bytes = buffer.subarray(0, batch.reduce((sum, { count }) => sum + count, 0) * PAGE_BYTES)
        await readAll(file, bytes, position)
        position += bytes.length
        let from = 0
        for (const extent of batch) {
          const data = bytes.subarray(from, (from += extent.count * PAGE_BYTES))
          if (crc32(data) !== extent.crc32)
            throw new SnapshotRefused(`The delta's pages from ${extent.start} on are altered`)
          use(extent, data)
        }
      }
    }

    return {
      header,
      verify: () => checkEach(() => {}),
      async load(memory) {
        await checkEach(({ start }, bytes) => memory.write(bytes, start))
        for (const { kind, start, count } of extents)
          if (kind === "zero") memory.write(Buffer.alloc(count * PAGE_BYTES), start)
      },
      [Symbol.asyncDispose]: () => file.close(),
    }
  } catch (error) {
    await file.close()
    throw error
  }
}

const readTable = async (file: FileHandle) => {
  const head = Buffer.alloc(HEADER_BYTES)
  await readAll(file, head, 0)
  const bytes = Buffer.alloc(tableEnd(head))
  await readAll(file, bytes, 0)
  return decodeDelta(bytes)
}

const readAll = async (file: FileHandle, bytes: Buffer, position: number) => {
  for (let done = 0; done < bytes.length;) {
    const { bytesRead } = await file.read(bytes, done, bytes.length - done, position + done)
    if (bytesRead === 0) throw new SnapshotRefused("The delta is truncated")
    done += bytesRead
  }
}
