/** What the API may ask about images: rows first, then the actors that build them. */
import { randomUUID } from "node:crypto"
import { and, eq, gt, sql } from "drizzle-orm"
import { imageBuilds, images, imageVersions } from "../../src/db/schema.ts"
import { conflict, validationError } from "../../src/errors.ts"
import type { Logs } from "../../src/logs/logs.ts"
import { BUILD_VERSION, imageGroup, placeLog, streamName } from "../../src/logs/names.ts"
import { imageArn } from "../arn.ts"
import { claimClientToken } from "../client-token.ts"
import { recordChange } from "../history.ts"
import { createImageBuilds } from "./image-builds.ts"
import { checkImageQuota, type ImageQuota } from "./image-quota.ts"
import { createImageRemoval, type ImageRemovalOptions } from "./image-removal.ts"
import { toImage, toImageVersion } from "./image-row.ts"
import { createImageVersions, findImage, findVersion, noImage } from "./image-versions.ts"
import { IMAGE_VERSION_MACHINE_VERSION, type ImageVersionMachine } from "../image-version.ts"
import type { Registry } from "../registry.ts"
import { MANAGED_IMAGES, type Caller, type ImageRequest, type Images, type RecipeRequest } from "../resources.ts"
import type { Database } from "../vm-row.ts"

/** Seals what is secret at rest; what it opens was sealed under the same key. */
export interface SecretBox {
  seal(text: string): Buffer
  open(sealed: Buffer): string
}

export interface ImagesOptions extends Pick<ImageRemovalOptions, "removeBases"> {
  readonly db: Database & { transaction<T>(work: (tx: Database) => Promise<T>): Promise<T> }
  readonly hostId: string
  readonly architecture: string
  readonly registry: Registry<ImageVersionMachine>
  readonly quota: ImageQuota
  readonly secrets: SecretBox
  readonly logs: Logs
}

interface Ids {
  readonly version: string
  readonly build: string
}

const newIds = (): Ids => ({ version: randomUUID(), build: randomUUID() })

/** Images over a database and a registry of their versions' actors. */
export const createImages = (options: ImagesOptions): Images => {
  const { db, hostId, architecture, registry, secrets, logs } = options
  const openEnvironment = (sealed: Buffer | null): Record<string, string> =>
    sealed === null ? {} : (JSON.parse(secrets.open(sealed)) as Record<string, string>)

  /** A version's row with its build's, in the transaction that made or changed its image. */
  const addVersion = async (
    tx: Database,
    image: typeof images.$inferSelect,
    version: string,
    request: RecipeRequest,
    ids: Ids,
    caller: Caller,
  ) => {
    await checkImageQuota(tx, hostId, image, options.quota)
    const [row] = await tx
      .insert(imageVersions)
      .values({
        id: ids.version,
        imageId: image.id,
        version,
        state: "PENDING",
        status: "ACTIVE",
        baseImageArn: request.baseImageArn,
        baseImageVersion: managedVersion(request),
        buildRoleArn: request.buildRoleArn,
        codeArtifactUri: request.codeArtifactUri,
        memoryMiB: request.memoryMiB,
        settings: request.settings,
        sealedEnvironment: secrets.seal(JSON.stringify(request.environment)),
        hostId,
        // As pages of versions tell it, which know no microseconds.
        createdAt: new Date(),
        machineVersion: IMAGE_VERSION_MACHINE_VERSION,
      })
      .returning()
    if (row === undefined) throw new Error("The version's row was not returned")
    await tx
      .insert(imageBuilds)
      .values({ id: ids.build, imageVersionId: row.id, state: "PENDING", architecture, createdAt: new Date() })
    const address = placeLog(request.settings.logging, {
      account: caller.account,
      region: caller.region,
      group: imageGroup(image.name),
      stream: streamName(new Date(), BUILD_VERSION, ids.build),
    })
    if (address !== undefined) await logs.create(tx, ids.build, address)
    await recordChange(tx, {
      scope: caller,
      resource: imageArn(caller, image.name),
      type: `microvm-image.${image.state.toLowerCase()}`,
      cause: "api",
      by: caller,
      details: { version, codeArtifact: request.codeArtifactUri },
    })
    return { image, version: row, isNew: true }
  }

  /** What an earlier request with this token made, if there was one. */
  const madeBefore = async (
    tx: Database,
    operation: string,
    asked: RecipeRequest & Pick<ImageRequest, "name"> & Partial<Pick<ImageRequest, "tags">>,
    ids: Ids,
    caller: Caller,
  ) => {
    const { name, clientToken } = asked
    const earlier = await claimClientToken(tx, clientToken, {
      scope: caller,
      operation,
      request: { ...asked, clientToken: undefined },
      resourceId: ids.version,
    })
    if (earlier === undefined) return undefined
    const [version] = await tx.select().from(imageVersions).where(eq(imageVersions.id, earlier))
    const image = await findImage(tx, name, caller)
    if (version === undefined || image === undefined) throw noImage(name, caller)
    return { image, version, isNew: false }
  }

  /** Starts the actor of what was stored, and answers as the API wants it. */
  const begin = (
    made: { image: typeof images.$inferSelect; version: typeof imageVersions.$inferSelect; isNew: boolean },
    { build }: Ids,
  ) => {
    const { image, version, isNew } = made
    if (isNew)
      registry.start(version.id, version.generation, { input: { id: version.id, buildId: build, state: "PENDING" } })
    return {
      image: toImage(image),
      version: toImageVersion(image.name, version, openEnvironment(version.sealedEnvironment)),
    }
  }

  return {
    async create({ name, tags, ...request }, caller) {
      managedVersion(request)
      const ids = newIds()
      const made = await db.transaction(async (tx) => {
        const before = await madeBefore(tx, "CreateMicrovmImage", { name, tags, ...request }, ids, caller)
        if (before !== undefined) return before
        const [image] = await tx
          .insert(images)
          .values({
            id: randomUUID(),
            account: caller.account,
            region: caller.region,
            name,
            state: "CREATING",
            lastVersion: 1,
            tags,
          })
          .onConflictDoNothing()
          .returning()
        if (image === undefined)
          throw validationError(`A MicroVM image with the name '${name}' already exists in this account`)
        return addVersion(tx, image, "1.0", request, ids, caller)
      })
      return begin(made, ids)
    },
    async update(name, request, caller) {
      managedVersion(request)
      const ids = newIds()
      const made = await db.transaction(async (tx) => {
        const before = await madeBefore(tx, "UpdateMicrovmImage", { name, ...request }, ids, caller)
        if (before !== undefined) return before
        // Who comes meanwhile waits here, and then finds it UPDATING.
        const [found] = await tx
          .select()
          .from(images)
          .where(and(eq(images.account, caller.account), eq(images.region, caller.region), eq(images.name, name)))
          .for("update")
        if (found === undefined) throw noImage(name, caller)
        if (["CREATING", "UPDATING", "DELETING"].includes(found.state))
          throw conflict(`MicroVM Image is already in state: ${found.state}`)
        const [image] = await tx
          .update(images)
          .set({ state: "UPDATING", lastVersion: sql`${images.lastVersion} + 1`, updatedAt: sql`now()` })
          .where(eq(images.id, found.id))
          .returning()
        if (image === undefined) throw new Error("The image's row was not returned")
        return addVersion(tx, image, `${image.lastVersion}.0`, request, ids, caller)
      })
      return begin(made, ids)
    },
    async get(name, scope) {
      const row = await findImage(db, name, scope)
      if (row === undefined) throw noImage(name, scope)
      return toImage(row)
    },
    async list({ limit, after }, scope) {
      const { account, region } = scope
      const isBehind = after === undefined ? undefined : gt(images.name, after)
      const rows = await db
        .select()
        .from(images)
        .where(and(eq(images.account, account), eq(images.region, region), isBehind))
        .orderBy(images.name)
        .limit(limit + 1)
      const items = rows.slice(0, limit).map(toImage)
      return { items, next: rows.length > limit ? items.at(-1)?.name : undefined }
    },
    ...createImageRemoval({ db, removeBases: options.removeBases }),
    ...createImageVersions({ db, openEnvironment }),
    ...createImageBuilds({
      db,
      registry,
      logs,
      findVersion: (name, version, scope) => findVersion(db, name, version, scope),
    }),
  }
}

/** The managed image's version as AWS echoes it (`1` becomes `1.0`), or a refusal before anything is made. */
const managedVersion = ({ baseImageArn, baseImageVersion }: RecipeRequest): string => {
  const name = baseImageArn.slice(baseImageArn.lastIndexOf(":") + 1)
  const managed = MANAGED_IMAGES.find((image) => image.name === name || image.aliases.some((alias) => alias === name))
  const wanted =
    baseImageVersion === undefined || baseImageVersion.includes(".") ? baseImageVersion : `${baseImageVersion}.0`
  const version = wanted === undefined ? managed?.versions[0] : managed?.versions.find((known) => known === wanted)
  if (managed === undefined || version === undefined)
    throw validationError(
      `No managed MicroVM Image with arn ${baseImageArn} and version ${baseImageVersion ?? "latest"} is available`,
    )
  return version
}
