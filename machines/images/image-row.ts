import { and, desc, eq, inArray, sql } from "drizzle-orm"
import type { Snapshot, SnapshotFrom } from "xstate"
import { imageBuilds, images, imageVersions } from "../../src/db/schema.ts"
import { imageArn } from "../arn.ts"
import { recordChange } from "../history.ts"
import { IMAGE_VERSION_MACHINE_VERSION, toVersionState, type ImageVersionMachine } from "../image-version.ts"
import type { Image, ImageBuild, ImageVersion } from "../resources.ts"
import type { Database } from "../vm-row.ts"

export type ImageRow = typeof images.$inferSelect
export type ImageVersionRow = typeof imageVersions.$inferSelect
export type ImageBuildRow = typeof imageBuilds.$inferSelect

/** Writes one step of a version, with its build's and its image's; `false` when the row has another owner. */
export const saveImageVersion = async (
  db: Database,
  id: string,
  generation: number,
  snapshot: SnapshotFrom<ImageVersionMachine>,
  persisted: Snapshot<unknown>,
): Promise<boolean> => {
  const state = toVersionState(snapshot)
  const { failure, buildId, cancelledBy } = snapshot.context
  const cause = cancelledBy === null ? "build" : "api"
  const before = db
    .select({ id: imageVersions.id, state: imageVersions.state })
    .from(imageVersions)
    .where(eq(imageVersions.id, id))
    .for("update")
    .as("before")
  const [row] = await db
    .update(imageVersions)
    .set({
      state,
      cause,
      updatedAt: sql`now()`,
      machine: persisted,
      machineVersion: IMAGE_VERSION_MACHINE_VERSION,
      generation: generation + 1,
    })
    .from(before)
    .where(and(eq(imageVersions.id, id), eq(imageVersions.generation, generation)))
    .returning({ imageId: imageVersions.imageId, version: imageVersions.version, stateBefore: before.state })
  if (row === undefined) return false
  if (row.stateBefore === state) return true
  if (state !== "PENDING")
    await db
      .update(imageBuilds)
      .set({
        state: state === "SUCCESSFUL" || state === "FAILED" ? state : "IN_PROGRESS",
        stateReason: failure?.message ?? null,
        finishedAt: state === "IN_PROGRESS" ? null : sql`now()`,
      })
      .where(eq(imageBuilds.id, buildId))
  const [image] =
    state === "SUCCESSFUL" || state === "FAILED"
      ? await db
          .update(images)
          .set({
            // The first version decides between CREATED and UPDATED; a failed update leaves the active version alone.
            state: sql`case when ${images.state} = 'CREATING' then ${state === "SUCCESSFUL" ? "CREATED" : "CREATE_FAILED"}
              else ${state === "SUCCESSFUL" ? "UPDATED" : "UPDATE_FAILED"} end`,
            ...(state === "SUCCESSFUL" ? { latestActiveVersion: row.version } : { latestFailedVersion: row.version }),
            updatedAt: sql`now()`,
          })
          .where(eq(images.id, row.imageId))
          .returning()
      : await db.select().from(images).where(eq(images.id, row.imageId))
  if (image !== undefined)
    await recordChange(db, {
      scope: image,
      resource: imageArn(image, image.name),
      type: `microvm-image-version.${state.toLowerCase().replace("_", "-")}`,
      cause,
      ...(cancelledBy === null ? {} : { by: cancelledBy }),
      details: { version: row.version, buildId, ...(failure === null ? {} : { reason: failure.message }) },
    })
  return true
}

/** Every version of this host whose build has not come to an end, with its newest build. */
export const unfinishedVersions = (db: Database, hostId: string) =>
  db
    .select({ version: imageVersions, buildId: imageBuilds.id })
    .from(imageVersions)
    .innerJoin(imageBuilds, eq(imageBuilds.imageVersionId, imageVersions.id))
    .where(and(eq(imageVersions.hostId, hostId), inArray(imageVersions.state, ["PENDING", "IN_PROGRESS"])))
    .orderBy(desc(imageBuilds.createdAt))

/** As the API sees it. */
export const toImage = (row: ImageRow): Image => ({
  name: row.name,
  state: row.state,
  latestActiveVersion: row.latestActiveVersion,
  latestFailedVersion: row.latestFailedVersion,
  tags: row.tags,
  createdAt: row.createdAt,
  updatedAt: row.updatedAt,
})

/** As the API sees it; its environment was opened by the caller. */
export const toImageVersion = (
  imageName: string,
  row: ImageVersionRow,
  environment: Record<string, string>,
): ImageVersion => ({
  imageName,
  version: row.version,
  state: row.state,
  status: row.status,
  baseImageArn: row.baseImageArn,
  baseImageVersion: row.baseImageVersion,
  buildRoleArn: row.buildRoleArn,
  codeArtifactUri: row.codeArtifactUri,
  memoryMiB: row.memoryMiB,
  environment,
  settings: row.settings,
  createdAt: row.createdAt,
  updatedAt: row.updatedAt,
})

/** As the API sees it. */
export const toImageBuild = (imageName: string, version: string, row: ImageBuildRow): ImageBuild => ({
  id: row.id,
  imageName,
  version,
  state: row.state,
  stateReason: row.stateReason,
  createdAt: row.createdAt,
  sizes:
    row.memoryBytes === null || row.codeBytes === null || row.diskBytes === null
      ? null
      : { memoryBytes: row.memoryBytes, codeBytes: row.codeBytes, diskBytes: row.diskBytes },
})
