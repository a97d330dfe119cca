import { and, eq, inArray, isNotNull, sql, type SQL } from "drizzle-orm"
import { hosts, imageBuilds, images, imageVersions } from "../../src/db/schema.ts"
import { quotaExceeded } from "../../src/errors.ts"
import type { Database } from "../vm-row.ts"

export interface BaseQuota {
  /** Of an account's bases on this host: memory, and disk above the lowest file, of each as its build says it. */
  readonly maxBasesBytes: number
}

export interface ImageQuota extends BaseQuota {
  /** Builds of this host, those that wait too. */
  readonly maxUnfinished: number
  /** Of an account, in all regions. */
  readonly maxImages: number
  /** Of one image, those that failed too. */
  readonly maxVersions: number
}

/** Until the transaction's end nobody else counts what this host has. */
export const lockHost = async (tx: Database, hostId: string): Promise<void> => {
  await tx.select().from(hosts).where(eq(hosts.id, hostId)).for("no key update")
}

/** What an account's bases may still take, in bytes; negative when they take too much already. */
export const roomOfBases = async (
  tx: Database,
  hostId: string,
  account: string,
  { maxBasesBytes }: BaseQuota,
): Promise<number> => {
  const [taken] = await tx
    .select({ bytes: sql<string>`coalesce(sum(${imageBuilds.memoryBytes} + ${imageBuilds.diskBytes}), 0)` })
    .from(imageBuilds)
    .innerJoin(imageVersions, eq(imageVersions.id, imageBuilds.imageVersionId))
    .innerJoin(images, eq(images.id, imageVersions.imageId))
    .where(and(eq(imageVersions.hostId, hostId), eq(images.account, account), isNotNull(imageVersions.baseId)))
  return maxBasesBytes - Number(taken?.bytes ?? 0)
}

/**
 * Refuses another version of an image, whose row is there, when it is one build, image or version too many, or
 * there is no room for its base; whether there is enough is known once it is built. Until the transaction's end nobody else of this host counts.
 */
export const checkImageQuota = async (
  tx: Database,
  hostId: string,
  image: typeof images.$inferSelect,
  quota: ImageQuota,
): Promise<void> => {
  const { maxUnfinished, maxImages, maxVersions, maxBasesBytes } = quota
  const count = async (table: typeof images | typeof imageVersions, where: SQL | undefined) => {
    const [row] = await tx
      .select({ count: sql<number>`count(*)::int` })
      .from(table)
      .where(where)
    return row?.count ?? 0
  }
  await lockHost(tx, hostId)
  const isUnfinished = inArray(imageVersions.state, ["PENDING", "IN_PROGRESS"])
  const unfinished = await count(imageVersions, and(eq(imageVersions.hostId, hostId), isUnfinished))
  if (unfinished >= maxUnfinished)
    throw quotaExceeded(
      `${unfinished} builds are running or waiting, which is the limit: try again when one has ended.`,
    )
  if ((await count(imageVersions, eq(imageVersions.imageId, image.id))) >= maxVersions)
    throw quotaExceeded(
      `The image '${image.name}' has ${maxVersions} versions, which is the limit: delete some (DeleteMicrovmImageVersion), or raise images.maxVersions of the daemon's TORPOR_CONFIG.`,
    )
  if ((await count(images, eq(images.account, image.account))) > maxImages)
    throw quotaExceeded(
      `This account has ${maxImages} MicroVM images, which is the limit: delete some (DeleteMicrovmImage), or raise images.maxImages of the daemon's TORPOR_CONFIG.`,
    )
  if ((await roomOfBases(tx, hostId, image.account, quota)) <= 0)
    throw quotaExceeded(
      `The snapshots of this account's MicroVM images take ${maxBasesBytes / 1024 ** 2} MiB, which is the limit: delete some (DeleteMicrovmImageVersion), or raise images.maxBasesMiB of the daemon's TORPOR_CONFIG.`,
    )
}
