/**
 * What the guests of a base touch first, learned from one that has just begun, and kept beside the base. A page that is there
 * already costs no fault while the guest answers for the first time; a fault is some ten times what it takes to ask for the page from here.
 */
import { randomUUID } from "node:crypto"
import { readFile, rename, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { setImmediate as turn } from "node:timers/promises"
import { LRUCache } from "lru-cache"
import { z } from "zod"
import type { MemoryMap, ProcessMemory, Touched } from "./memory-map.ts"
import type { BasePaths } from "../vmm.ts"

export interface WorkingSets {
  /** Learns that of a base from a paused guest, unless it is known, or this one has written more pages already. */
  learn(base: BasePaths, memory: Pick<ProcessMemory, "touched">, maxWritten: number): Promise<void>
  /** `memoryPages`: of its guests. */
  of(base: BasePaths, memoryPages: number): Promise<Touched | undefined>
}

const KNOWN_BASES = 64
/** A VM begins with so much memory of its own. */
const MAX_WRITTEN_PAGES = 4096
const MAX_READ_BLOCKS = 2048
/** Pages at a time, in a fraction of a millisecond. */
const PIECE = 64

/** A file that says other pages costs a launch some time and changes nothing: none has to vouch for it. */
const Kept = z.object({
  written: z.array(z.int().min(0)).max(MAX_WRITTEN_PAGES),
  read: z.array(z.int().min(0)).max(MAX_READ_BLOCKS),
})

const fileOf = ({ directory }: BasePaths) => join(directory, "working-set.json")

export const createWorkingSets = (): WorkingSets => {
  const known = new LRUCache<string, Touched>({ max: KNOWN_BASES })

  const find = async (base: BasePaths): Promise<Touched | undefined> => {
    const found = known.get(base.directory) ?? (await open(fileOf(base)))
    if (found !== undefined) known.set(base.directory, found)
    return found
  }

  return {
    async learn(base, memory, maxWritten) {
      if ((await find(base)) !== undefined) return
      const touched = await memory.touched()
      if (touched.written.length > maxWritten || !Kept.safeParse(touched).success) return
      known.set(base.directory, touched)
      await keep(fileOf(base), touched)
    },
    async of(base, memoryPages) {
      const found = await find(base)
      const fits = found !== undefined && [...found.written, ...found.read].every((page) => page < memoryPages)
      return fits ? found : undefined
    },
  }
}

/** Nothing where there is none, or what there is is something else. */
const open = async (file: string): Promise<Touched | undefined> => {
  try {
    return Kept.parse(JSON.parse(await readFile(file, "utf8")))
  } catch {
    return undefined
  }
}

/** Whole or not at all; a disk that is full has none. */
const keep = async (file: string, touched: Touched): Promise<void> => {
  const unfinished = `${file}.${randomUUID()}`
  try {
    await writeFile(unfinished, JSON.stringify(touched), { mode: 0o444 })
    await rename(unfinished, file)
  } catch {
    await rm(unfinished, { force: true }).catch(() => {})
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
