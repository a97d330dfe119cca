/** Memory that is kept of a definition's first successful Init, as those see it who launch environments. */
import { join } from "node:path"
import type { versionSnapshots } from "../../../src/db/environments.ts"
import type { Definition } from "../../functions/definition.ts"
import { vmFiles } from "../../disks.ts"
import type { Remains } from "../../vms/vm-life.ts"
import type { RuntimeBase } from "../runtime-bases.ts"
import type { MeasuredInit } from "./choice.ts"
import type { StandingVm } from "./standing-vms.ts"

/** One of them: its directory has what the directory of a VM that sleeps has. */
export interface VersionSnapshot extends Readonly<typeof versionSnapshots.$inferSelect> {
  readonly directory: string
}

export interface VersionSnapshots {
  /** What an environment of a definition is launched from, on this base; `undefined`: it is initialised. */
  of(definition: Definition, base: RuntimeBase): VersionSnapshot | undefined
  /** A VM that stands where the snapshot begins, the caller's from here on; nothing when there is none. */
  take(snapshot: VersionSnapshot): StandingVm | undefined
  /** Has one made for the next, behind others; returns at once. */
  fill(snapshot: VersionSnapshot): void
  /** An environment was initialised: where that took long, others of its definition will have a snapshot. Returns at once. */
  initialised(definition: Definition, init: MeasuredInit): void
  /** An environment was restored, in this time; `undefined` where its VM stood ready, which says nothing of others. */
  restored(snapshot: VersionSnapshot, ms: number | undefined): void
  /** An environment could not be restored, and was initialised in its place; the second time in a row, or where the files are at fault, the snapshot is given up. */
  failed(snapshot: VersionSnapshot, error: unknown): void
  /** An environment has come to its end in its restore: the snapshot is given up. */
  broke(snapshot: VersionSnapshot, error: unknown): void
}

/** The parts of a snapshot that a VM is launched from. */
export const remainsOf = ({
  directory,
  incarnation,
  vmId,
}: Pick<VersionSnapshot, "directory" | "incarnation" | "vmId">): Remains => {
  const files = vmFiles(directory)
  return { delta: { ...files.delta(incarnation), vmId }, overlay: files.overlay(0) }
}

/** A snapshot is not made of an Init that fails. */
export class InitFailed extends Error {
  override readonly name = "InitFailed"
  /** `Runtime.ImportModuleError`. */
  readonly errorType: string | undefined

  constructor(errorType: string | undefined) {
    super(`The function's initialization failed${errorType === undefined ? "" : `: ${errorType}`}.`)
    this.errorType = errorType
  }
}

export const snapshotDirectory = (dataDirectory: string): string => join(dataDirectory, "functions/snapshots")
