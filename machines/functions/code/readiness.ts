import type { Runtimes } from "../../../images/runtimes/runtime-disks.ts"
import { isRuntimeName } from "../../../images/runtimes/runtimes.ts"
import type { RuntimeBases } from "../../environments/runtime-bases.ts"
import type { OpenDiskStore } from "../disks/disk-store.ts"
import type { DiskOwner } from "../disks/function-disks.ts"

export interface ReadinessOwner extends DiskOwner {
  readonly settings: DiskOwner["settings"] & { readonly runtime: string; readonly memoryMiB: number }
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

/** What this host's functions stand on: a runtime's disks and base, and a version's own disks. */
export const createReadiness = (
  runtimes: Pick<Runtimes, "of">,
  bases: RuntimeBases,
  disks: Pick<OpenDiskStore, "of" | "tidy">,
): Readiness => ({
  async prepare(owner, signal) {
    const { runtime, memoryMiB } = owner.settings
    if (!isRuntimeName(runtime)) throw new NotReady("InvalidRuntime", `The runtime ${runtime} is not available.`)
    // A base that can't be made now, for want of memory, is made when an environment is to begin.
    const base = runtimes.of(runtime, signal).then(() => bases.of(runtime, memoryMiB, signal).catch(() => {}))
    await Promise.all([base, disks.of(owner, signal)])
  },
  tidy: disks.tidy,
})
