/**
 * The snapshots of this host: a row each, and `functions/snapshots/<id>/` in the data directory. The row is written when all of the files
 * are on disk, and deleted before the first of them: what has no row is nobody's, and goes at the next start.
 */
import { mkdir, readdir, rm } from "node:fs/promises"
import { join } from "node:path"
import { and, eq } from "drizzle-orm"
import { versionSnapshots } from "../../../src/db/environments.ts"
import type { Log } from "../../../src/log.ts"
import type { Database } from "../../vm-row.ts"
import type { VersionSnapshot } from "./version-snapshots.ts"

export interface SnapshotStoreOptions {
  readonly db: Database
  readonly hostId: string
  readonly directory: string
  /** Of all together; the least recently used go first. */
  readonly maxBytes: number
  /** How long one is kept that nobody is launched from. */
  readonly unusedMs: number
  /** Told of each that is removed. */
  readonly onRemoved?: (id: string) => void
  readonly log: Log
}

type Row = typeof versionSnapshots.$inferSelect

export interface SnapshotStore {
  all(): VersionSnapshot[]
  /** The one of a definition. */
  of(definitionId: string): VersionSnapshot | undefined
  directoryOf(id: string): string
  /** Keeps one whose files are in its directory, in place of another of its definition. Answers `false` when it is larger than all may be. */
  add(row: Omit<Row, "hostId">): Promise<boolean>
  /** Notes what is known by now of one that is there, at once, and writes it. */
  note(snapshot: VersionSnapshot, values: Partial<Pick<Row, "restoreMs" | "failures" | "usedAt">>): Promise<void>
  /** Removes one, with its files; nothing when it is gone. */
  remove(snapshot: VersionSnapshot, why: string): Promise<void>
  /** Removes those that nobody has used for long. */
  removeUnused(): Promise<void>
}

/** Opens what there is; files that no row knows are removed. */
export const openSnapshotStore = async (options: SnapshotStoreOptions): Promise<SnapshotStore> => {
  const { db, hostId, directory, maxBytes, unusedMs, log } = options
  const directoryOf = (id: string) => join(directory, id)
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const rows = await db.select().from(versionSnapshots).where(eq(versionSnapshots.hostId, hostId))
  const known = new Map<string, VersionSnapshot>()
  const keep = (row: Row) => void known.set(row.definitionId, { ...row, directory: directoryOf(row.id) })
  rows.forEach(keep)
  const ids = new Set(rows.map(({ id }) => id))
  for (const entry of await readdir(directory))
    if (!ids.has(entry)) await rm(directoryOf(entry), { recursive: true, force: true })

  const ofRow = (id: string) => and(eq(versionSnapshots.id, id), eq(versionSnapshots.hostId, hostId))

  const remove = async ({ id, definitionId, bytes }: VersionSnapshot, why: string): Promise<void> => {
    if (known.get(definitionId)?.id === id) known.delete(definitionId)
    options.onRemoved?.(id)
    const deleted = await db.delete(versionSnapshots).where(ofRow(id)).returning({ id: versionSnapshots.id })
    await rm(directoryOf(id), { recursive: true, force: true })
    if (deleted.length > 0) log.info({ snapshot: id, bytes, why }, "A function's snapshot was removed")
  }

  const byUse = () => [...known.values()].toSorted((a, b) => a.usedAt.getTime() - b.usedAt.getTime())

  const fit = async () => {
    let bytes = known.values().reduce((sum, snapshot) => sum + snapshot.bytes, 0)
    for (const snapshot of byUse()) {
      if (bytes <= maxBytes) return
      bytes -= snapshot.bytes
      await remove(snapshot, "There is no room for it")
    }
  }
  await fit()

  return {
    all: () => [...known.values()],
    of: (definitionId) => known.get(definitionId),
    directoryOf,
    async add(given) {
      const row = { ...given, hostId }
      if (row.bytes > maxBytes) return false
      const before = known.get(row.definitionId)
      if (before !== undefined) await remove(before, "There is another")
      await db.insert(versionSnapshots).values(row)
      keep(row)
      await fit()
      return true
    },
    async note(snapshot, values) {
      known.set(snapshot.definitionId, { ...snapshot, ...values })
      await db.update(versionSnapshots).set(values).where(ofRow(snapshot.id))
    },
    remove,
    async removeUnused() {
      const before = Date.now() - unusedMs
      for (const snapshot of byUse())
        if (snapshot.usedAt.getTime() < before) await remove(snapshot, "Nobody has used it for long")
    },
  }
}
