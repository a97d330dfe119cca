import { ServiceError } from "../errors.ts"

/** How much may be kept, counted while it is written. */
export interface Quota {
  /** Takes a piece; throws QuotaExceeded when it doesn't fit. */
  take(bytes: number): void
  give(bytes: number): void
  /** Counts what is there already, even beyond the limit. */
  charge(bytes: number): void
}

/** A quota of which nothing is used yet. */
export const createQuota = (limitBytes: number): Quota => {
  let usedBytes = 0
  return {
    take: (bytes) => {
      if (usedBytes + bytes > limitBytes) {
        throw new ServiceError(
          "QuotaExceeded",
          403,
          `The account's artifacts may take ${limitBytes} bytes; delete some, or raise the limit.`,
        )
      }
      usedBytes += bytes
    },
    give: (bytes) => {
      usedBytes -= bytes
    },
    charge: (bytes) => {
      usedBytes += bytes
    },
  }
}
