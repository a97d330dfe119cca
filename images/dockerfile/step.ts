/** What of a Dockerfile changes the disk. */
import type { Variables } from "./words.ts"

/** Where a RUN finds a heredoc that begins with `#!`. */
export const PIPES = "/dev/pipes"

export interface InlineFile {
  /** Without a slash. */
  readonly name: string
  readonly content: string
}

export interface RunStep {
  readonly kind: "run"
  readonly line: number
  /** As it is shown in the log. */
  readonly text: string
  readonly argv: readonly string[]
  readonly environment: Variables
  readonly workingDirectory: string
  readonly user: string
  /** A heredoc that is a program of its own, by its name below {@link PIPES}. */
  readonly script: InlineFile | null
}

export interface CopyStep {
  readonly kind: "copy"
  readonly line: number
  readonly text: string
  /** Paths in the context, maybe with globs. */
  readonly sources: readonly string[]
  /** Heredocs: files that come with the instruction. */
  readonly inline: readonly InlineFile[]
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
