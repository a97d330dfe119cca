/** The code of the agent's own program, which may be an application's too: as another file, with the same bytes in other pages. */
import { open, readdir, readFile, stat } from "node:fs/promises"
import { getSystemErrorMessage } from "node:util"

/** The library of images/system/code.c. */
const LIBRARY = "/code.node"
const PIECE_BYTES = 1024 * 1024

/** Answers with 0 or an error's number. */
interface Library {
  map(path: string, address: number, bytes: number, offset: number): number
}

/** A part of a program that is run, as it is mapped. */
interface Segment {
  readonly address: number
  readonly bytes: number
  readonly offset: number
}

/** A file that a process of the application runs, and whose code is the agent's. */
export interface Twin {
  readonly path: string
  readonly inode: bigint
}

const segmentsOf = async (program: string): Promise<Segment[]> => {
  const lines = (await readFile("/proc/self/maps", "utf8")).split("\n")
  return lines.flatMap((line) => {
    const [range = "", rights, offset = "", , , path] = line.split(/ +/)
    if (rights !== "r-xp" || path !== program) return []
    const [from = 0, to = 0] = range.split("-").map((part) => Number.parseInt(part, 16))
    return [{ address: from, bytes: to - from, offset: Number.parseInt(offset, 16) }]
  })
}

/** Looks for one among all processes; nothing when no application runs this program. */
export const findTwin = async (): Promise<Twin | undefined> => {
  const program = process.execPath
  const own = await stat(program, { bigint: true })
  const segments = await segmentsOf(program)
  for (const pid of await readdir("/proc")) {
    if (!/^\d+$/.test(pid)) continue
    const path = `/proc/${pid}/exe`
    const found = await stat(path, { bigint: true }).catch(() => undefined)
    // What is on the agent's own disk is in its pages already.
    if (found === undefined || found.size !== own.size || found.dev === own.dev) continue
    if (await isSame(program, path, segments)) return { path, inode: found.ino }
  }
  return undefined
}

const isSame = async (one: string, other: string, segments: readonly Segment[]): Promise<boolean> => {
  await using first = await open(one)
  await using second = await open(other)
  const [left, right] = [Buffer.alloc(PIECE_BYTES), Buffer.alloc(PIECE_BYTES)]
  for (const { offset, bytes } of segments)
    for (let at = offset; at < offset + bytes; at += PIECE_BYTES) {
      const length = Math.min(PIECE_BYTES, offset + bytes - at)
      const read = await Promise.all([first.read(left, 0, length, at), second.read(right, 0, length, at)])
      if (read[0].bytesRead !== read[1].bytesRead) return false
      if (!left.subarray(0, read[0].bytesRead).equals(right.subarray(0, read[1].bytesRead))) return false
    }
  return true
}

/** Does something with the agent's code in its twin's pages. The application must be frozen: nobody else keeps the file as it is. */
export const inPagesOf = async ({ path, inode }: Twin, act: () => Promise<void>): Promise<void> => {
  if ((await stat(path, { bigint: true })).ino !== inode) return
  const library = { exports: {} as Library }
  process.dlopen(library, LIBRARY)
  const program = process.execPath
  const segments = await segmentsOf(program)
  const map = (file: string) => {
    for (const { address, bytes, offset } of segments) {
      const error = library.exports.map(file, address, bytes, offset)
      if (error !== 0) throw new Error(`${file} could not be mapped: ${getSystemErrorMessage(-error)}`)
    }
  }
  try {
    map(path)
    await act()
  } finally {
    map(program)
  }
}
