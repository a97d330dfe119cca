import { ServiceError } from "../../errors.ts"

/** The part of one request. */
export interface BodyPart {
  /** Counts bytes that have come. Throws AWS's 429 when all requests' would be more than may be. */
  add(bytes: number): void
  /** The request is answered. Idempotent. */
  release(): void
}

/** What the memory of this process holds of requests' bodies, of all that are not answered yet together. */
export interface BodyRoom {
  open(): BodyPart
}

const RETRY_AFTER_SECONDS = 1

const full = () =>
  new ServiceError("ThrottlingException", 429, "Rate exceeded", {}, { "retry-after": String(RETRY_AFTER_SECONDS) })

export const createBodyRoom = (maxBytes: number): BodyRoom => {
  let held = 0
  return {
    open() {
      let own = 0
      return {
        add(bytes) {
          if (held + bytes > maxBytes) throw full()
          held += bytes
          own += bytes
        },
        release() {
          held -= own
          own = 0
        },
      }
    },
  }
}
