/** What the folder of a language says of it, to all that runs its functions. */
import type { Finishing } from "./debian.ts"
import type { RuntimeFile } from "./files.ts"

export interface LanguageRuntime {
  /** What is in `/var/runtime` beside its `bootstrap`. */
  files(): Promise<readonly RuntimeFile[]>
  /** What is made of Debian's packages, where its interpreter comes from those. */
  readonly finishing?: Finishing
  /** The handlers of its `training`, by which a runtime is trained that waits for its function. */
  readonly trainings: readonly string[]
  /**
   * Whether it takes new seeds, and the variables of its new environment, when it is restored. A program of the function's own that is
   * one knows nothing of snapshots: two environments might give the same random numbers.
   */
  readonly isMadeForSnapshots: boolean
  /** What its process is told when it starts, and never again, in a function of so much memory. */
  argumentsOf?(memoryMiB: number): readonly string[]
  /** Variables that say where it looks for modules, in a runtime of this name. A function's own may replace them. */
  variablesOf?(runtime: string): Readonly<Record<string, string>>
}
