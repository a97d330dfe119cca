import { ServiceError } from "../errors.ts"

export interface QuotaLimits {
  readonly maxBytes: number
  readonly maxFiles: number
}

/** How much may be kept, counted while it is written. */
export interface Quota {
  /** What is used of it. */
  readonly used: { readonly files: number; readonly bytes: number }
  /** Takes a file, empty as yet; throws QuotaExceeded when there are too many. An upload is one itself, beside its parts. */
  takeFile(): void
  /** Takes a piece of a file; throws QuotaExceeded when it doesn't fit. */
  take(bytes: number): void
  /** Gives files back, and the bytes of them all. */
  give(files: number, bytes: number): void
  /** Counts a file that is there already, even beyond the limits. */
  charge(bytes: number): void
}

const exceeded = (limit: string) =>
  new ServiceError("QuotaExceeded", 403, `The account's artifacts may ${limit}; delete some, or raise the limit.`)

/** A quota of which nothing is used yet. */
export const createQuota = ({ maxBytes, maxFiles }: QuotaLimits): Quota => {
  let usedBytes = 0
  let usedFiles = 0
  return {
    get used() {
      return { files: usedFiles, bytes: usedBytes }
    },
    takeFile: () => {
      if (usedFiles >= maxFiles) throw exceeded(`be ${maxFiles} objects, uploads under way and parts of them`)
      usedFiles += 1
    },
    take: (bytes) => {
      if (usedBytes + bytes > maxBytes) throw exceeded(`take ${maxBytes} bytes`)
      usedBytes += bytes
    },
    give: (files, bytes) => {
      usedFiles -= files
      usedBytes -= bytes
    },
    charge: (bytes) => {
      usedFiles += 1
      usedBytes += bytes
    },
  }
}
