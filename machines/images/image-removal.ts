/** What the API may ask to be removed: versions, and images with all of theirs. A MicroVM stands on its base alone, and runs on. */
import { and, desc, eq, inArray, ne, sql } from "drizzle-orm"
import { clientTokens, images, imageVersions, microvms } from "../../src/db/schema.ts"
import { conflict, validationError } from "../../src/errors.ts"
import { imageArn } from "../arn.ts"
import { recordChange } from "../history.ts"
import type { Caller, Images } from "../resources.ts"
import type { Database } from "../vm-row.ts"
import type { ImageRow } from "./image-row.ts"
import { findVersion, isImage, noImage, noVersion } from "./image-versions.ts"

export interface ImageRemovalOptions {
  readonly db: Database & { transaction<T>(work: (tx: Database) => Promise<T>): Promise<T> }
  /** Removes what of these bases' files nothing stands on. */
  readonly removeBases: (ids: readonly string[]) => Promise<void>
}

const CHANGING: readonly ImageRow["state"][] = ["CREATING", "UPDATING", "DELETING"]

/** Removal over a database: rows go at once, and files behind them. */
export const createImageRemoval = ({
  db,
  removeBases,
}: ImageRemovalOptions): Pick<Images, "remove" | "removeVersion"> => ({
  async removeVersion(name, version, caller) {
    const gone = await db.transaction(async (tx) => {
      const image = await lockImage(tx, name, caller)
      if (image === undefined) throw noVersion(name, version, caller)
      const row = await findVersion(tx, name, version, caller)
      if (CHANGING.includes(image.state)) throw conflict(`MicroVM Image is already in state: ${image.state}`)
      const resource = imageArn(caller, name)
      const some = await tx
        .select({ id: imageVersions.id })
        .from(imageVersions)
        .where(eq(imageVersions.imageId, image.id))
        .limit(2)
      if (some.length === 1)
        throw validationError(
          `${version} is the only version of the MicroVM image ${resource}: it goes with the image.`,
        )
      const bases = await removeVersions(tx, [row.id])
      const newest = async (state: "SUCCESSFUL" | "FAILED") => {
        const [found] = await tx
          .select({ version: imageVersions.version })
          .from(imageVersions)
          .where(and(eq(imageVersions.imageId, image.id), eq(imageVersions.state, state)))
          .orderBy(desc(imageVersions.createdAt))
          .limit(1)
        return found?.version ?? null
      }
      await tx
        .update(images)
        .set({
          latestActiveVersion: await newest("SUCCESSFUL"),
          latestFailedVersion: await newest("FAILED"),
          updatedAt: sql`now()`,
        })
        .where(eq(images.id, image.id))
      const type = "microvm-image-version.deleted"
      await recordChange(tx, { scope: caller, resource, type, cause: "api", by: caller, details: { version } })
      return bases
    })
    await removeBases(gone)
  },
  async remove(name, caller) {
    const gone = await db.transaction(async (tx) => {
      const image = await lockImage(tx, name, caller)
      if (image === undefined) throw noImage(name, caller)
      if (CHANGING.includes(image.state))
        throw validationError(`Cannot delete MicroVM image in its current state: ${image.state}`)
      const [live] = await tx
        .select({ id: microvms.id })
        .from(microvms)
        .where(and(eq(microvms.imageId, image.id), ne(microvms.state, "TERMINATED")))
        .limit(1)
      if (live !== undefined) throw validationError("Cannot delete microvm image with running microvms.")
      const versions = await tx
        .select({ id: imageVersions.id, version: imageVersions.version })
        .from(imageVersions)
        .where(eq(imageVersions.imageId, image.id))
      const bases = await removeVersions(
        tx,
        versions.map(({ id }) => id),
      )
      await tx.delete(images).where(eq(images.id, image.id))
      await recordChange(tx, {
        scope: caller,
        resource: imageArn(caller, name),
        type: "microvm-image.deleted",
        cause: "api",
        by: caller,
        details: { versions: versions.map(({ version }) => version) },
      })
      return bases
    })
    await removeBases(gone)
  },
})

/** Whoever updates the image, or runs a MicroVM of it, waits for the transaction's end. */
const lockImage = async (tx: Database, name: string, caller: Caller): Promise<ImageRow | undefined> => {
  const [image] = await tx.select().from(images).where(isImage(name, caller)).for("update")
  return image
}

/** With their builds, and the client tokens that they were made by. Answers whose bases they had. */
const removeVersions = async (tx: Database, ids: readonly string[]): Promise<string[]> => {
  await tx.delete(clientTokens).where(inArray(clientTokens.resourceId, [...ids]))
  const gone = await tx
    .delete(imageVersions)
    .where(inArray(imageVersions.id, [...ids]))
    .returning({ baseId: imageVersions.baseId })
  return gone.flatMap(({ baseId }) => baseId ?? [])
}
