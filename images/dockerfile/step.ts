/** What of a Dockerfile changes the disk. */
import type { Variables } from "./words.ts"

export interface RunStep {
  readonly kind: "run"
  readonly line: number
  /** As it is shown in the log. */
  readonly text: string
  readonly argv: readonly string[]
  readonly environment: Variables
  readonly workingDirectory: string
  readonly user: string
}

export interface CopyStep {
  readonly kind: "copy"
  readonly line: number
  readonly text: string
  /** Paths in the context, maybe with globs. */
  readonly sources: readonly string[]
  /** Absolute; with a slash at its end when it was written so. */
  readonly destination: string
  readonly owner: string | null
  readonly mode: number | null
}

/** WORKDIR makes its directory. */
export interface DirectoryStep {
  readonly kind: "directory"
  readonly line: number
  readonly text: string
  readonly path: string
  readonly owner: string | null
}

export type Step = RunStep | CopyStep | DirectoryStep
