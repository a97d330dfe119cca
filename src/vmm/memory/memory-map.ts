/** A guest's memory as its process has it: where it is mapped, which pages are the VM's own, and their content. */
import { readSync, writeSync } from "node:fs"
import { open, readFile, type FileHandle } from "node:fs/promises"

export const PAGE_BYTES = 4096

/** A run of pages, counted from the beginning of the guest's memory. */
export interface PageRun {
  readonly start: number
  readonly count: number
}

/** Pages that a guest has come to, counted from the beginning of its memory. */
export interface Touched {
  /** Those that are its own. */
  readonly written: readonly number[]
  /** One for each block of those that it shares with the file: they are mapped by the block. */
  readonly read: readonly number[]
}

export interface MemoryMap extends AsyncDisposable {
  /** The pages that differ from the file behind them, or may. */
  changed(): Promise<PageRun[]>
  /** At once: each is a copy from memory to memory, and asking for it asynchronously takes ten times as long. Callers let others run between pieces. */
  read(buffer: Buffer, page: number): void
  write(buffer: Buffer, page: number): void
}

/** Opens the file behind a base's guests to be read as their memory. The caller disposes it. */
export const openBaseMemory = async (ramPath: string): Promise<Pick<MemoryMap, "read"> & AsyncDisposable> => {
  const file = await open(ramPath, "r")
  return {
    read: (buffer, page) => readWhole(file, buffer, page * PAGE_BYTES),
    [Symbol.asyncDispose]: () => file.close(),
  }
}

const readWhole = ({ fd }: FileHandle, buffer: Buffer, position: number) => {
  for (let done = 0; done < buffer.length;) {
    const bytesRead = readSync(fd, buffer, done, buffer.length - done, position + done)
    if (bytesRead === 0) throw new Error("The guest's memory could not be read")
    done += bytesRead
  }
}

/** A guest's memory in its process. */
export interface ProcessMemory extends MemoryMap {
  /** The pages that are mapped. */
  touched(): Promise<Touched>
}

/** Opens the private mapping of `ramPath` (`bytes` long) in a process. The caller disposes it; reads and writes are only safe while it is paused. */
export const openMemoryMap = async (
  pid: number,
  ramPath: string,
  bytes: number,
  writable: boolean,
): Promise<ProcessMemory> => {
  const base = await findMapping(pid, ramPath, bytes)
  const memory = await open(`/proc/${pid}/mem`, writable ? "r+" : "r")
  const entries = async () => {
    await using pagemap = await open(`/proc/${pid}/pagemap`, "r")
    return await readEntries(pagemap, base, bytes)
  }
  return {
    changed: async () => changedRuns(await entries()),
    touched: async () => touchedPages(await entries()),
    read: (buffer, page) => readWhole(memory, buffer, base + page * PAGE_BYTES),
    write(buffer, page) {
      for (let done = 0; done < buffer.length;) {
        const bytesWritten = writeSync(memory.fd, buffer, done, buffer.length - done, base + page * PAGE_BYTES + done)
        if (bytesWritten === 0) throw new Error("The guest's memory could not be written")
        done += bytesWritten
      }
    },
    [Symbol.asyncDispose]: () => memory.close(),
  }
}

/** The address of the mapping; the kernel may show one mapping as several lines in a row. */
const findMapping = async (pid: number, ramPath: string, bytes: number): Promise<number> => {
  let from: number | undefined
  let to: number | undefined
  for (const line of (await readFile(`/proc/${pid}/maps`, "utf8")).split("\n")) {
    if (!line.endsWith(` ${ramPath}`)) continue
    const [start, end] = line
      .slice(0, line.indexOf(" "))
      .split("-")
      .map((part) => Number.parseInt(part, 16))
    from ??= start
    if (to !== undefined && start !== to) throw new Error("The guest's memory is mapped in pieces")
    to = end
  }
  if (from === undefined || to === undefined || to - from !== bytes)
    throw new Error(`The guest's memory is not mapped as expected: ${(to ?? 0) - (from ?? 0)} of ${bytes} bytes`)
  return from
}

/** Bits 63 (present), 62 (swapped) and 61 (of a file) of a pagemap entry, in its upper half. */
const [PRESENT, SWAPPED, OF_FILE] = [1 << 31, 1 << 30, 1 << 29]

/** Two halves for each page, the upper one second. */
const readEntries = async (pagemap: FileHandle, base: number, bytes: number): Promise<Uint32Array> => {
  const pages = bytes / PAGE_BYTES
  const entries = Buffer.allocUnsafeSlow(pages * 8)
  for (let done = 0; done < entries.length;) {
    const { bytesRead } = await pagemap.read(entries, done, entries.length - done, (base / PAGE_BYTES) * 8 + done)
    if (bytesRead === 0) throw new Error("The page map ended early")
    done += bytesRead
  }
  return new Uint32Array(entries.buffer, entries.byteOffset, pages * 2)
}

const changedRuns = (entries: Uint32Array): PageRun[] => {
  const pages = entries.length / 2
  const runs: PageRun[] = []
  let start = -1
  for (let page = 0; page <= pages; page++) {
    const upper = entries[2 * page + 1] ?? 0
    const own = page < pages && ((upper & SWAPPED) !== 0 || ((upper & PRESENT) !== 0 && (upper & OF_FILE) === 0))
    if (own && start === -1) start = page
    else if (!own && start !== -1) {
      runs.push({ start, count: page - start })
      start = -1
    }
  }
  return runs
}

/** The kernel maps 64 KiB of a file at a time where it has them in memory. */
const BLOCK_PAGES = 16

const touchedPages = (entries: Uint32Array): Touched => {
  const written: number[] = []
  const read = new Map<number, number>()
  for (let page = 0; page < entries.length / 2; page++) {
    const upper = entries[2 * page + 1] ?? 0
    if ((upper & PRESENT) === 0) continue
    if ((upper & OF_FILE) === 0) written.push(page)
    else read.set(Math.floor(page / BLOCK_PAGES), page)
  }
  return { written, read: [...read.values()] }
}
