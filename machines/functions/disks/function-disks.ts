/** The file systems that an environment finds beside its root: built once for equal code, shared by all who have it. */
import type { FunctionSettings } from "../../../src/db/function-values.ts"

/** Which of device layout v1's further drives is what. */
export const FUNCTION_DRIVES = { runtime: 0, code: 1, layers: 2, temporary: 3 } as const

/** Where on a drive what is mounted is: the code's and the layers' files, and what `/tmp` is. */
export const FUNCTION_PLACES = { files: "/files", temporary: "/tmp" } as const

/** Read-only raw files of a drive's size. */
export interface FunctionDisks {
  /** What is mounted at `/var/task`. */
  readonly code: string
  /** What is mounted at `/opt`; `null` without layers. */
  readonly layers: string | null
  /** The empty file system of `EphemeralStorage`'s size that each environment's `/tmp` stands on; never written to itself. */
  readonly temporary: string
}

export interface FunctionDiskStore {
  /** Those of a definition, built when they aren't there: for equal code at once for everybody who asks. */
  of(definition: DiskOwner, signal: AbortSignal): Promise<FunctionDisks>
}

/** What disks depend on. */
export interface DiskOwner {
  readonly code: string
  readonly layers: readonly string[]
  readonly settings: Pick<FunctionSettings, "temporaryMiB">
}
