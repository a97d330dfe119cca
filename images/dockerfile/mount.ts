/** RUN --mount: what a RUN finds at a path, and nobody behind it. Source: https://docs.docker.com/reference/dockerfile/#run---mount */
import type { Source } from "./step.ts"

export interface BindMount {
  readonly kind: "bind"
  /** Absolute, never the root. */
  readonly target: string
  readonly from: Source
  /** What of that is mounted: absolute, from its root. */
  readonly source: string
  /** What is written is thrown away. */
  readonly writable: boolean
}

export interface CacheMount {
  readonly kind: "cache"
  readonly target: string
  readonly id: string
  /** What a new cache begins with; `null` is an empty directory with the mode, uid and gid below. */
  readonly from: Source | null
  readonly source: string
  readonly sharing: "shared" | "private" | "locked"
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly writable: boolean
}

export interface TmpfsMount {
  readonly kind: "tmpfs"
  readonly target: string
  readonly sizeBytes: number | null
}

export interface SecretMount {
  readonly kind: "secret"
  readonly id: string
  /** A file; `null` when it is a variable alone. */
  readonly target: string | null
  readonly variable: string | null
  /** Without it the step fails. */
  readonly required: boolean
  readonly mode: number
  readonly uid: number
  readonly gid: number
}

export type Mount = BindMount | CacheMount | TmpfsMount | SecretMount
