import { createHmac, timingSafeEqual } from "node:crypto"
import type { PageRequest } from "../../../machines/resources.ts"
import { validationError } from "../../errors.ts"
import type { Call } from "./operation.ts"

const macBytes = 16

/** The longest list a client gets at once, and what it gets when it doesn't say. */
const maxPageSize = 50

const seal = (call: Call, list: string, after: Buffer) =>
  createHmac("sha256", call.identity.deriveKey("page-token"))
    .update(`${call.caller.region}\n${list}\n`)
    .update(after)
    .digest()
    .subarray(0, macBytes)

/**
 * Where the next page begins, sealed for this caller and this list, in base64 that needs no escaping.
 * `list` names the operation and what it filters by: a token of another list is refused.
 */
export const toPageToken = (next: string | undefined, list: string, call: Call): string | null => {
  if (next === undefined) return null
  const after = Buffer.from(next)
  return Buffer.concat([seal(call, list, after), after]).toString("base64url")
}

/** What a list's `maxResults` and `nextToken` ask for. Throws when the token isn't one that this list gave this caller. */
export const parsePage = (
  maxResults: number | undefined,
  nextToken: string | undefined,
  list: string,
  call: Call,
): PageRequest => {
  const limit = maxResults ?? maxPageSize
  if (nextToken === undefined) return { limit, after: undefined }
  const sealed = Buffer.from(nextToken, "base64url")
  const after = sealed.subarray(macBytes)
  const mac = sealed.subarray(0, macBytes)
  if (mac.length !== macBytes || !timingSafeEqual(mac, seal(call, list, after))) {
    throw validationError("Invalid nextToken: it is not one that this list returned.")
  }
  return { limit, after: after.toString("utf8") }
}
