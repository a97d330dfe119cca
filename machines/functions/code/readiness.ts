import type { Foresight, GroundSettings } from "../../environments/foresight.ts"
import { HostTooSmall } from "../../environments/memory-classes.ts"
import { NoRuntimeImage, type RuntimeGrounds } from "../../environments/runtime-grounds.ts"
import type { RuntimeBases } from "../../environments/runtime-bases.ts"
import { InitFailed } from "../../environments/snapshots/version-snapshots.ts"
import type { OpenDiskStore } from "../disks/disk-store.ts"
import type { DiskOwner } from "../disks/function-disks.ts"

export interface ReadinessOwner extends DiskOwner {
  readonly settings: GroundSettings
  /** The version that its environments are to be launched from a snapshot of. */
  readonly optimised?: string
}

/** What environments stand on, as settling sees it. */
export interface Readiness {
  /** Resolves when environments can be made of it; throws a {@link NotReady} that its author can do something about, or what went wrong. */
  prepare(owner: ReadinessOwner, signal: AbortSignal): Promise<void>
  /** Versions or updates are gone, and what was made for them may go too. Returns at once. */
  tidy(): void
}

type InitFailureCode =
  | "FunctionError.ExtensionInitError"
  | "FunctionError.InitTimeout"
  | "FunctionError.RuntimeInitError"

/** Nothing can be made of what its author gave, here. */
export class NotReady extends Error {
  override readonly name = "NotReady"
  /** AWS's StateReasonCode. */
  readonly code:
    | "InvalidZipFileException"
    | "InvalidRuntime"
    | "InvalidImage"
    | "InsufficientCapacity"
    | InitFailureCode

  constructor(code: NotReady["code"], reason: string) {
    super(reason)
    this.code = code
  }
}

const toNotReady = (error: InitFailed): NotReady => {
  const { errorType, message } = error
  if (errorType === "Sandbox.Timedout") return new NotReady("FunctionError.InitTimeout", message)
  const isExtension = errorType?.startsWith("Extension.") === true
  return new NotReady(isExtension ? "FunctionError.ExtensionInitError" : "FunctionError.RuntimeInitError", message)
}

/** What this host's functions stand on: a runtime's disks and base, and a version's own disks. */
export const createReadiness = (
  grounds: RuntimeGrounds,
  bases: RuntimeBases,
  disks: Pick<OpenDiskStore, "of" | "tidy">,
  optimise: (versionId: string, signal: AbortSignal) => Promise<void>,
  foresight: Pick<Foresight, "deployed">,
): Readiness => ({
  async prepare(owner, signal) {
    const { runtime, memoryMiB } = owner.settings
    if (!grounds.has(runtime)) throw new NotReady("InvalidRuntime", `The runtime ${runtime} is not available.`)
    if (!bases.fits(memoryMiB)) throw new NotReady("InsufficientCapacity", new HostTooSmall(memoryMiB).message)
    // A base that can't be made now because memory is short is made when an environment needs it.
    const base = grounds.of(runtime, signal).then(
      () =>
        bases.of(runtime, memoryMiB, signal).then(
          () => {
            // Others are launched from a snapshot.
            if (owner.optimised === undefined) foresight.deployed(owner.settings)
          },
          () => {},
        ),
      (error: unknown) => {
        throw error instanceof NoRuntimeImage ? new NotReady("InvalidImage", error.message) : error
      },
    )
    await Promise.all([base, disks.of(owner, signal)])
    if (owner.optimised === undefined) return
    await optimise(owner.optimised, signal).catch((error: unknown) => {
      throw error instanceof InitFailed ? toNotReady(error) : error
    })
  },
  tidy: disks.tidy,
})
