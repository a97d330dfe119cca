import type { Runtimes } from "../../../images/runtimes/runtime-disks.ts"
import { isRuntimeName } from "../../../images/runtimes/runtimes.ts"
import type { OpenDiskStore } from "../disks/disk-store.ts"
import type { DiskOwner } from "../disks/function-disks.ts"

export interface ReadinessOwner extends DiskOwner {
  readonly settings: DiskOwner["settings"] & { readonly runtime: string }
}

/** What environments stand on, as settling sees it. */
export interface Readiness {
  /** Resolves when environments can be made of it; throws a {@link NotReady} that its author can do something about, or what went wrong. */
  prepare(owner: ReadinessOwner, signal: AbortSignal): Promise<void>
  /** Versions or updates are gone, and what was made for them may go too. Returns at once. */
  tidy(): void
}

/** Nothing can be made of what its author gave. */
export class NotReady extends Error {
  override readonly name = "NotReady"
  /** AWS's StateReasonCode. */
  readonly code: "InvalidZipFileException" | "InvalidRuntime"

  constructor(code: NotReady["code"], reason: string) {
    super(reason)
    this.code = code
  }
}

/** What this host's functions stand on: a runtime's disks, and a version's own. */
export const createReadiness = (
  runtimes: Pick<Runtimes, "of">,
  disks: Pick<OpenDiskStore, "of" | "tidy">,
): Readiness => ({
  async prepare(owner, signal) {
    const { runtime } = owner.settings
    if (!isRuntimeName(runtime)) throw new NotReady("InvalidRuntime", `The runtime ${runtime} is not available.`)
    await Promise.all([runtimes.of(runtime, signal), disks.of(owner, signal)])
  },
  tidy: disks.tidy,
})
