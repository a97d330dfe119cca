/**
 * What the guests of a base touch first, learned from the first of them that sleeps early. A page that is there already costs no fault
 * while the guest answers for the first time; a fault is some ten times what it takes to ask for the page from here.
 */
import { setImmediate as turn } from "node:timers/promises"
import { LRUCache } from "lru-cache"
import type { MemoryMap, ProcessMemory, Touched } from "./memory-map.ts"

export interface WorkingSets {
  /** Learns that of a base from a paused guest, unless it is known, or this one has been everywhere already. */
  learn(baseId: string, memory: Pick<ProcessMemory, "touched">): Promise<void>
  of(baseId: string): Touched | undefined
}

const KNOWN_BASES = 64
/** Beyond them it takes longer to ask for the pages than an answer takes that touches them, and a VM begins with more memory of its own. */
const MAX_WRITTEN_PAGES = 1024
const MAX_READ_BLOCKS = 2048
/** Pages at a time, in a fraction of a millisecond. */
const PIECE = 64

export const createWorkingSets = (): WorkingSets => {
  const known = new LRUCache<string, Touched>({ max: KNOWN_BASES })
  return {
    async learn(baseId, memory) {
      if (known.has(baseId)) return
      const touched = await memory.touched()
      if (touched.written.length <= MAX_WRITTEN_PAGES && touched.read.length <= MAX_READ_BLOCKS)
        known.set(baseId, touched)
    },
    of: (baseId) => known.get(baseId),
  }
}

/** Gives a process its own copies of the pages that its guest will write; nothing may have been loaded into it yet. */
export const fetchWritten = async (memory: MemoryMap, { written }: Touched): Promise<void> => {
  const byte = Buffer.alloc(1)
  await inPieces(written, (page) => {
    memory.read(byte, page)
    memory.write(byte, page)
  })
}

/** Has a process map what its guest will read; at any time. */
export const fetchRead = async (memory: MemoryMap, { read }: Touched): Promise<void> => {
  const byte = Buffer.alloc(1)
  await inPieces(read, (page) => memory.read(byte, page))
}

const inPieces = async (pages: readonly number[], fetch: (page: number) => void) => {
  for (let at = 0; at < pages.length; at += PIECE) {
    if (at > 0) await turn()
    pages.slice(at, at + PIECE).forEach(fetch)
  }
}
