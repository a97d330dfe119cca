/** What the rooms of a daemon are given: those of MicroVMs, of images and of functions alike. */
import type { Artifacts as BaseArtifacts } from "../images/artifacts.ts"
import type { Places } from "../machines/disks.ts"
import type { Database } from "../machines/vm-row.ts"
import type { VmHost } from "../machines/vm.ts"
import type { Work } from "../machines/work.ts"
import type { Config } from "./config.ts"
import type { Secrets } from "./secrets.ts"
import type { Artifacts } from "./store/artifact.ts"

export interface RoomGround {
  readonly config: Config
  readonly db: Database & { transaction<T>(work: (tx: Database) => Promise<T>): Promise<T> }
  readonly host: VmHost
  readonly places: Places
  readonly createOverlay: (path: string) => Promise<void>
  readonly work: Work
}

/** And those that make bases out of what users bring. */
export interface MakingGround extends RoomGround {
  readonly base: BaseArtifacts
  readonly secrets: Secrets
  readonly artifacts: Artifacts
}
