/** What of a Dockerfile changes the disk. */
import type { Mount } from "./mount.ts"
import type { Variables } from "./text/variable.ts"

/** Where a RUN finds a heredoc that begins with `#!`. */
export const PIPES = "/dev/pipes"

/** Where files come from; a stage is told by its place in the plan. */
export type Source =
  | { readonly kind: "context" }
  | { readonly kind: "stage"; readonly stage: number }
  | { readonly kind: "image"; readonly digest: string }

export interface InlineFile {
  /** Without a slash. */
  readonly name: string
  readonly content: string
}

/** ADD of a URL. */
export interface RemoteFile {
  /** http or https. */
  readonly url: string
  /** Its name when the destination is a directory; without a slash. */
  readonly name: string
  /** `sha256:` and 64 hexadecimal digits. */
  readonly checksum: string | null
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
  readonly mounts: readonly Mount[]
  readonly network: "default" | "none"
}

/** COPY and ADD: first the sources, then what is inline, then what is remote. */
export interface CopyStep {
  readonly kind: "copy"
  readonly line: number
  readonly text: string
  readonly from: Source
  /** Paths there, maybe with globs. */
  readonly sources: readonly string[]
  /** Heredocs: files that come with the instruction. */
  readonly inline: readonly InlineFile[]
  readonly remote: readonly RemoteFile[]
  /** Absolute; with a slash at its end when it was written so. */
  readonly destination: string
  readonly owner: string | null
  /** As chmod takes it: octal, or letters. */
  readonly mode: string | null
  /** Links in the image are not followed on the way to the destination, but replaced. */
  readonly link: boolean
  /** Patterns of what is left out below each source, as .dockerignore has them. */
  readonly excluded: readonly string[]
  /** Sources keep their directories below the destination: all, or those behind the first `/./` of a source. */
  readonly parents: boolean
  /** Which of its files are unpacked when they are tar archives, plain or packed by gzip, bzip2, xz or zstd. */
  readonly unpacked: "none" | "local" | "all"
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
