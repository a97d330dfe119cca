import { EdgeError } from "../errors.ts"
import { AttemptError } from "./place.ts"
import type { Pool } from "./pools.ts"

/** What a client is told of an exchange that came to nothing: whether its VM is gone, or the application failed. */
export const toEdgeError = (error: unknown, { isDropped }: Pool): EdgeError => {
  if (error instanceof EdgeError) return error
  const cause = error instanceof AttemptError ? error.cause : error
  return new EdgeError(isDropped ? "DISCONNECTED" : "APP_CONNECT_FAILED", { cause })
}
