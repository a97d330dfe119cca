/** Which layers go when there is no room for all of them, and what a daemon that died between a row and its file has left. */
import { rm } from "node:fs/promises"
import { join } from "node:path"
import { and, eq, inArray } from "drizzle-orm"
import { bases, layers } from "../../src/db/schema.ts"
import { fileSizes, sumOf } from "../../src/file-sizes.ts"
import type { Database } from "../vm-row.ts"

type LayerRow = typeof layers.$inferSelect

/** As `bases.rootDisk` names a layer. */
const PLACE = "data:layers/"

export interface Trim {
  /** What the files that are there take, by their names below `root`. */
  readonly sizes: ReadonlyMap<string, number>
  /** Those of them that go. */
  readonly files: readonly string[]
  /** The files whose rows go, also of those that aren't there. */
  readonly rows: readonly string[]
}

/** See `LayerCache.trim`; `held` are the files below `root` that builds have at the moment. */
export const planTrim = async (
  db: Database,
  hostId: string,
  root: string,
  held: readonly string[],
  maxBytes: number,
): Promise<Trim> => {
  const bytesOf = await fileSizes(root)
  const all = await db.select().from(layers).where(eq(layers.hostId, hostId))
  const rows = new Map(all.map((row) => [row.file, row]))
  // Rows whose parent is gone are removed too: they would keep a build from ever registering that step again.
  const isSound = (row: LayerRow | undefined): boolean =>
    row !== undefined && bytesOf.has(row.file) && (row.parentFile === null || isSound(rows.get(row.parentFile)))
  const sound = new Map(all.filter(isSound).map((row) => [row.file, row]))
  const needed = await neededFiles(db, hostId, held, sound)
  const kept = new Set([...sound.keys(), ...needed].filter((file) => bytesOf.has(file)))
  let bytes = sumOf([...kept].map((file) => bytesOf.get(file)!))
  for (const file of leastRecentlyUsed(sound)) {
    if (bytes <= maxBytes) break
    if (needed.has(file)) continue
    kept.delete(file)
    bytes -= bytesOf.get(file)!
  }
  return {
    sizes: bytesOf,
    files: [...bytesOf.keys()].filter((file) => !kept.has(file)),
    rows: all.filter(({ file }) => !sound.has(file) || !kept.has(file)).map(({ file }) => file),
  }
}

/** Rows first: a file without one is never looked for, and goes at the next trim; a row without its file would be in the way. */
export const carryOutTrim = async (
  db: Database,
  hostId: string,
  root: string,
  { files, rows }: Pick<Trim, "files" | "rows">,
): Promise<void> => {
  if (rows.length > 0) await db.delete(layers).where(and(eq(layers.hostId, hostId), inArray(layers.file, rows)))
  for (const file of files) await rm(join(root, file), { force: true })
}

/** What builds hold and the disks of bases consist of, with all that is below; a VM's disk is its base's and its own overlay. */
const neededFiles = async (
  db: Database,
  hostId: string,
  held: readonly string[],
  rows: ReadonlyMap<string, LayerRow>,
): Promise<Set<string>> => {
  const disks = await db.select({ rootDisk: bases.rootDisk }).from(bases).where(eq(bases.hostId, hostId))
  const places = disks.flatMap(({ rootDisk }) => rootDisk).filter((place) => place.startsWith(PLACE))
  const needed = new Set([...held, ...places.map((place) => place.slice(PLACE.length))])
  // What is added is walked over too.
  for (const file of needed) {
    const parent = rows.get(file)?.parentFile
    if (parent != null) needed.add(parent)
  }
  return needed
}

/** A layer counts as used when one that stands on it was, and comes behind that one. */
const leastRecentlyUsed = (rows: ReadonlyMap<string, LayerRow>): string[] => {
  const usedAt = new Map<string, number>()
  const depths = new Map<string, number>()
  for (const row of rows.values()) {
    let depth = 0
    for (let below: LayerRow | undefined = row; below !== undefined; below = rows.get(below.parentFile ?? "")) {
      usedAt.set(below.file, Math.max(usedAt.get(below.file) ?? 0, row.usedAt.getTime()))
      depth++
    }
    depths.set(row.file, depth)
  }
  return [...rows.keys()].toSorted(
    (one, other) => usedAt.get(one)! - usedAt.get(other)! || depths.get(other)! - depths.get(one)!,
  )
}
