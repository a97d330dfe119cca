/** The base of a version, once its files are there. */
import { rm, stat } from "node:fs/promises"
import { eq } from "drizzle-orm"
import { BuildError } from "../../images/build.ts"
import { bases, imageBuilds, imageVersions } from "../../src/db/schema.ts"
import type { RunSettings } from "../../src/db/values.ts"
import { lockHost, roomOfBases, type BaseQuota } from "../images/image-quota.ts"
import type { Database } from "../vm-row.ts"

export interface NewBase {
  readonly row: typeof bases.$inferInsert
  readonly directory: string
  /** Bottom first; the lowest is the managed image or an empty one, and everybody's. */
  readonly rootDisk: readonly string[]
  readonly memoryBytes: number
  readonly codeBytes: number
  readonly settings: RunSettings
}

export interface BaseOwner {
  readonly account: string
  readonly versionId: string
  readonly buildId: string
}

/** Stores that the version has it, and answers its disk's size above the lowest file; removes its files and fails where the account has no room for it. */
export const keepBase = async (
  db: Database & { transaction<T>(work: (tx: Database) => Promise<T>): Promise<T> },
  base: NewBase,
  { account, versionId, buildId }: BaseOwner,
  quota: BaseQuota,
): Promise<{ readonly diskBytes: number }> => {
  const { row, directory, memoryBytes, codeBytes, settings } = base
  try {
    const files = await Promise.all(base.rootDisk.slice(1).map((file) => stat(file)))
    const diskBytes = files.reduce((sum, { blocks }) => sum + blocks * 512, 0)
    await db.transaction(async (tx) => {
      await lockHost(tx, row.hostId)
      const room = await roomOfBases(tx, row.hostId, account, quota)
      if (memoryBytes + diskBytes > room)
        throw new BuildError(
          `The base takes ${toMiB(memoryBytes + diskBytes)} MiB, and this account has room for ${toMiB(Math.max(0, room))} MiB more: images.maxBasesMiB of the daemon's TORPOR_CONFIG.`,
        )
      await tx.insert(bases).values(row)
      await tx
        .update(imageVersions)
        .set({ baseId: row.id, runSettings: settings })
        .where(eq(imageVersions.id, versionId))
      await tx.update(imageBuilds).set({ memoryBytes, codeBytes, diskBytes }).where(eq(imageBuilds.id, buildId))
    })
    return { diskBytes }
  } catch (error) {
    await rm(directory, { recursive: true, force: true })
    throw error
  }
}

const toMiB = (bytes: number) => Math.ceil(bytes / 1024 ** 2)
