import { and, eq, inArray, sql, type SQL } from "drizzle-orm"
import { hosts, images, imageVersions } from "../src/db/schema.ts"
import { quotaExceeded } from "../src/errors.ts"
import type { Database } from "./vm-row.ts"

export interface ImageQuota {
  /** Builds of this host, those that wait too. */
  readonly maxUnfinished: number
  /** Of an account in a region. */
  readonly maxImages: number
  /** Of one image, those that failed too. */
  readonly maxVersions: number
}

/**
 * Refuses another version of an image, whose row is there, when it is one build, image or version too many. Until the transaction's end
 * nobody else of this host counts.
 */
export const checkImageQuota = async (
  tx: Database,
  hostId: string,
  image: typeof images.$inferSelect,
  { maxUnfinished, maxImages, maxVersions }: ImageQuota,
): Promise<void> => {
  const count = async (table: typeof images | typeof imageVersions, where: SQL | undefined) => {
    const [row] = await tx
      .select({ count: sql<number>`count(*)::int` })
      .from(table)
      .where(where)
    return row?.count ?? 0
  }
  await tx.select().from(hosts).where(eq(hosts.id, hostId)).for("no key update")
  const isUnfinished = inArray(imageVersions.state, ["PENDING", "IN_PROGRESS"])
  const unfinished = await count(imageVersions, and(eq(imageVersions.hostId, hostId), isUnfinished))
  if (unfinished >= maxUnfinished)
    throw quotaExceeded(
      `${unfinished} builds are running or waiting, which is the limit: try again when one has ended.`,
    )
  if ((await count(imageVersions, eq(imageVersions.imageId, image.id))) >= maxVersions)
    throw quotaExceeded(
      `The image '${image.name}' has ${maxVersions} versions, which is the limit: images.maxVersions of the daemon's TORPOR_CONFIG.`,
    )
  if ((await count(images, and(eq(images.account, image.account), eq(images.region, image.region)))) > maxImages)
    throw quotaExceeded(
      `This account has ${maxImages} MicroVM images in this region, which is the limit: images.maxImages of the daemon's TORPOR_CONFIG.`,
    )
}
