/** What the API may ask about builds of images' versions. */
import { and, eq } from "drizzle-orm"
import { waitFor } from "xstate"
import { imageBuilds, images, imageVersions } from "../../src/db/schema.ts"
import { conflict, notFound } from "../../src/errors.ts"
import type { Logs } from "../../src/logs/logs.ts"
import { imageArn } from "../arn.ts"
import { toImageBuild } from "./image-row.ts"
import type { ImageVersionMachine } from "../image-version.ts"
import { newestFirst, toPage } from "../page.ts"
import type { Registry } from "../registry.ts"
import type { Images, Scope } from "../resources.ts"
import type { Database } from "../vm-row.ts"

export interface ImageBuildsOptions {
  readonly db: Database
  readonly registry: Registry<ImageVersionMachine>
  readonly logs: Logs
  /** Throws AWS's 404. */
  readonly findVersion: (name: string, version: string, scope: Scope) => Promise<{ readonly id: string }>
}

/** Builds over a database and a registry of their versions' actors. */
export const createImageBuilds = ({
  db,
  registry,
  logs,
  findVersion,
}: ImageBuildsOptions): Pick<Images, "listBuilds" | "getBuild" | "cancelBuild" | "buildLog" | "buildEnd"> => {
  const findBuild = async (buildId: string, scope: Scope) => {
    const [row] = await db
      .select({ build: imageBuilds, versionId: imageVersions.id })
      .from(imageBuilds)
      .innerJoin(imageVersions, eq(imageVersions.id, imageBuilds.imageVersionId))
      .innerJoin(images, eq(images.id, imageVersions.imageId))
      .where(and(eq(imageBuilds.id, buildId), eq(images.account, scope.account), eq(images.region, scope.region)))
    if (row === undefined) throw notFound(`Build not found: ${buildId}`)
    return row
  }

  return {
    async listBuilds(name, version, page, scope) {
      const owner = await findVersion(name, version, scope)
      const { where, orderBy } = newestFirst(imageBuilds.createdAt, imageBuilds.id, page.after)
      const rows = await db
        .select()
        .from(imageBuilds)
        .where(and(eq(imageBuilds.imageVersionId, owner.id), where))
        .orderBy(orderBy)
        .limit(page.limit + 1)
      return toPage(
        rows,
        page,
        (row) => ({ time: row.createdAt, id: row.id }),
        (row) => toImageBuild(name, version, row),
      )
    },
    async getBuild(name, version, buildId, scope) {
      const owner = await findVersion(name, version, scope)
      const [row] = await db
        .select()
        .from(imageBuilds)
        .where(and(eq(imageBuilds.imageVersionId, owner.id), eq(imageBuilds.id, buildId)))
      if (row === undefined)
        throw notFound(
          `MicroVMImageBuild not found for MicroVMImage: ${imageArn(scope, name)}, Version: ${version}, Build: ${buildId}`,
        )
      return toImageBuild(name, version, row)
    },
    async cancelBuild(buildId, caller) {
      const { build, versionId } = await findBuild(buildId, caller)
      const actor = registry.get(versionId)
      const event = { type: "CANCEL", by: { accessKeyId: caller.accessKeyId, requestId: caller.requestId } } as const
      if (build.state === "SUCCESSFUL" || build.state === "FAILED" || actor?.getSnapshot().can(event) !== true)
        throw conflict(
          build.state === "SUCCESSFUL" || build.state === "FAILED"
            ? `The build has ended already: ${build.state}`
            : "The build is ending already",
        )
      actor.send(event)
      await registry.stored(versionId)
    },
    async buildLog(buildId, scope) {
      await findBuild(buildId, scope)
      return logs.reader(buildId)
    },
    async buildEnd(buildId, wait, scope) {
      const { versionId } = await findBuild(buildId, scope)
      const actor = registry.get(versionId)
      if (actor !== undefined && wait !== undefined) {
        await waitFor(actor, ({ status }) => status !== "active", { signal: wait, timeout: Infinity })
        await registry.stored(versionId)
      }
      const { build } = await findBuild(buildId, scope)
      if (build.state !== "SUCCESSFUL" && build.state !== "FAILED") return undefined
      return { state: build.state, reason: build.stateReason }
    },
  }
}
