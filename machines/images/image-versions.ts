/** What the API may ask about the versions of an image, beside making them. */
import { and, desc, eq, sql } from "drizzle-orm"
import { clientTokens, images, imageVersions } from "../../src/db/schema.ts"
import { conflict, notFound, ServiceError, validationError } from "../../src/errors.ts"
import { imageArn } from "../arn.ts"
import { recordChange } from "../history.ts"
import { toImageVersion, type ImageRow, type ImageVersionRow } from "./image-row.ts"
import { newestFirst, toPage } from "../page.ts"
import type { Images, Scope } from "../resources.ts"
import type { Database } from "../vm-row.ts"

export interface ImageVersionsOptions {
  readonly db: Database & { transaction<T>(work: (tx: Database) => Promise<T>): Promise<T> }
  readonly openEnvironment: (sealed: Buffer | null) => Record<string, string>
}

/** Versions over a database. */
export const createImageVersions = ({
  db,
  openEnvironment,
}: ImageVersionsOptions): Pick<Images, "getVersion" | "listVersions" | "removeVersion"> => ({
  async getVersion(name, version, scope) {
    const row = await findVersion(db, name, version, scope)
    return toImageVersion(name, row, openEnvironment(row.sealedEnvironment))
  },
  async listVersions(name, page, scope) {
    const image = await findImage(db, name, scope)
    if (image === undefined) throw notFound(`MicroVMImage not found for MicroVMImageID: ${imageArn(scope, name)}`)
    const { where, orderBy } = newestFirst(imageVersions.createdAt, imageVersions.id, page.after)
    const rows = await db
      .select()
      .from(imageVersions)
      .where(and(eq(imageVersions.imageId, image.id), where))
      .orderBy(orderBy)
      .limit(page.limit + 1)
    return toPage(
      rows,
      page,
      (row) => ({ time: row.createdAt, id: row.id }),
      (row) => toImageVersion(name, row, openEnvironment(row.sealedEnvironment)),
    )
  },
  removeVersion: (name, version, caller) =>
    db.transaction(async (tx) => {
      const arn = imageArn(caller, name)
      // Whoever updates the image waits here.
      const [image] = await tx.select().from(images).where(isImage(name, caller)).for("update")
      if (image === undefined) throw noVersion(name, version, caller)
      const row = await findVersion(tx, name, version, caller)
      if (["CREATING", "UPDATING", "DELETING"].includes(image.state))
        throw conflict(`MicroVM Image is already in state: ${image.state}`)
      const some = await tx
        .select({ id: imageVersions.id })
        .from(imageVersions)
        .where(eq(imageVersions.imageId, image.id))
        .limit(2)
      if (some.length === 1)
        throw validationError(`${version} is the only version of the MicroVM image ${arn}: it goes with the image.`)
      if (row.state !== "FAILED")
        throw new ServiceError(
          "UnsupportedOperationException",
          400,
          "Torpor does not support DeleteMicrovmImageVersion of versions yet that were built, only of those that failed.",
        )
      await tx.delete(clientTokens).where(eq(clientTokens.resourceId, row.id))
      await tx.delete(imageVersions).where(eq(imageVersions.id, row.id))
      const [failed] = await tx
        .select({ version: imageVersions.version })
        .from(imageVersions)
        .where(and(eq(imageVersions.imageId, image.id), eq(imageVersions.state, "FAILED")))
        .orderBy(desc(imageVersions.createdAt))
        .limit(1)
      await tx
        .update(images)
        .set({ latestFailedVersion: failed?.version ?? null, updatedAt: sql`now()` })
        .where(eq(images.id, image.id))
      const type = "microvm-image-version.deleted"
      await recordChange(tx, { scope: caller, resource: arn, type, cause: "api", by: caller, details: { version } })
    }),
})

const isImage = (name: string, { account, region }: Scope) =>
  and(eq(images.account, account), eq(images.region, region), eq(images.name, name))

/** The image of this name, if there is one. */
export const findImage = async (db: Database, name: string, scope: Scope): Promise<ImageRow | undefined> => {
  const [row] = await db.select().from(images).where(isImage(name, scope))
  return row
}

/** A version's row. Throws AWS's 404. */
export const findVersion = async (
  db: Database,
  name: string,
  version: string,
  scope: Scope,
): Promise<ImageVersionRow> => {
  const [row] = await db
    .select({ version: imageVersions })
    .from(imageVersions)
    .innerJoin(images, eq(images.id, imageVersions.imageId))
    .where(and(isImage(name, scope), eq(imageVersions.version, version)))
  if (row === undefined) throw noVersion(name, version, scope)
  return row.version
}

const noVersion = (name: string, version: string, scope: Scope) =>
  notFound(`MicroVMImage not found for MicroVMImage: ${imageArn(scope, name)}, Version: ${version}`)
