/** What a runtime's VMs stand on: disks of Torpor's own runtimes, or those of the image that the operator has mapped a name to. */
import { and, desc, eq } from "drizzle-orm"
import type { Runtimes } from "../../images/runtimes/runtime-disks.ts"
import { isRuntimeName, type RuntimeName } from "../../images/runtimes/runtimes.ts"
import { bases, images, imageVersions } from "../../src/db/schema.ts"
import { OperatorError } from "../../src/errors.ts"
import { fromPlace, type Places } from "../disks.ts"
import type { Database } from "../vm-row.ts"
import type { BaseGround } from "./base-making.ts"

export interface RuntimeGrounds {
  /** Whether functions can have a runtime of this name. */
  has(runtime: string): boolean
  /** Its disks, made when they are first wanted; rejects with {@link NoRuntimeImage}. */
  of(runtime: string, signal: AbortSignal): Promise<BaseGround>
}

/** The image of a runtime has no version here that MicroVMs could be run from. */
export class NoRuntimeImage extends Error {
  override readonly name = "NoRuntimeImage"

  constructor(runtime: string, arn: string) {
    super(`The runtime ${runtime} is not available: its image ${arn} has no active version on this host.`)
  }
}

export interface RuntimeGroundsOptions {
  readonly db: Database
  readonly hostId: string
  readonly places: Places
  readonly runtimes: Pick<Runtimes, "of">
  /** ARNs of images by the names of runtimes; {@link OperatorError} where one is Torpor's own. */
  readonly mapped: Readonly<Record<string, string>>
}

/** Such a function's runtime is the image's `/var/runtime/bootstrap`: of ours it has the drive, and nothing of that. */
const DRIVE_OF_MAPPED: RuntimeName = "provided.al2023"

export const createRuntimeGrounds = ({
  db,
  hostId,
  places,
  runtimes,
  mapped,
}: RuntimeGroundsOptions): RuntimeGrounds => {
  const own = Object.keys(mapped).find(isRuntimeName)
  if (own !== undefined) throw new OperatorError(`functions.runtimes: ${own} is a runtime of Torpor's own`)
  const imageOf = new Map(Object.entries(mapped))
  return {
    has: (runtime) => isRuntimeName(runtime) || imageOf.has(runtime),
    async of(runtime, signal) {
      if (isRuntimeName(runtime)) return runtimes.of(runtime, signal)
      const arn = imageOf.get(runtime)
      if (arn === undefined) throw new Error(`There is no runtime ${runtime}`)
      const [{ runtimeDisk }, chain] = await Promise.all([
        runtimes.of(DRIVE_OF_MAPPED, signal),
        findRootDisk(db, hostId, arn),
      ])
      const [rootDisk, ...layers] = chain.map((place) => fromPlace(places, place))
      if (rootDisk === undefined) throw new NoRuntimeImage(runtime, arn)
      return { rootDisk, layers, runtimeDisk }
    },
  }
}

/** Of an image's latest active version: places, bottom first; none where there is no such version. */
const findRootDisk = async (db: Database, hostId: string, arn: string): Promise<readonly string[]> => {
  const [, , , region = "", account = "", , name = ""] = arn.split(":")
  const [found] = await db
    .select({ rootDisk: bases.rootDisk })
    .from(images)
    .innerJoin(imageVersions, eq(imageVersions.imageId, images.id))
    .innerJoin(bases, eq(bases.id, imageVersions.baseId))
    .where(
      and(
        eq(images.account, account),
        eq(images.region, region),
        eq(images.name, name),
        eq(imageVersions.state, "SUCCESSFUL"),
        eq(imageVersions.status, "ACTIVE"),
        eq(bases.hostId, hostId),
      ),
    )
    .orderBy(desc(imageVersions.createdAt))
    .limit(1)
  return found?.rootDisk ?? []
}
