/** What the API may ask about the versions of an image, beside making them. */
import { and, eq } from "drizzle-orm"
import { images, imageVersions } from "../../src/db/schema.ts"
import { notFound } from "../../src/errors.ts"
import { imageArn } from "../arn.ts"
import { toImageVersion, type ImageRow, type ImageVersionRow } from "./image-row.ts"
import { newestFirst, toPage } from "../page.ts"
import type { Images, Scope } from "../resources.ts"
import type { Database } from "../vm-row.ts"

export interface ImageVersionsOptions {
  readonly db: Database
  readonly openEnvironment: (sealed: Buffer | null) => Record<string, string>
}

/** Versions over a database. */
export const createImageVersions = ({
  db,
  openEnvironment,
}: ImageVersionsOptions): Pick<Images, "getVersion" | "listVersions"> => ({
  async getVersion(name, version, scope) {
    const row = await findVersion(db, name, version, scope)
    return toImageVersion(name, row, openEnvironment(row.sealedEnvironment))
  },
  async listVersions(name, page, scope) {
    const image = await findImage(db, name, scope)
    if (image === undefined) throw noImage(name, scope)
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
})

/** Where it is the image of this name. */
export const isImage = (name: string, { account, region }: Scope) =>
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

/** AWS's 404. */
export const noVersion = (name: string, version: string, scope: Scope) =>
  notFound(`MicroVMImage not found for MicroVMImage: ${imageArn(scope, name)}, Version: ${version}`)

/** AWS's 404. */
export const noImage = (name: string, scope: Scope) =>
  notFound(`MicroVMImage not found for MicroVMImageID: ${imageArn(scope, name)}`)
