/** What an application's answer may not do to a browser: reach beyond its own host, or pass for the edge. */
import type { IncomingHttpHeaders } from "node:http"
import { COOKIE } from "./cookie.ts"

const NAME = COOKIE.toLowerCase()

/** Changes an answer's headers in place: cookies for a domain, those of our cookie's name, and the wiping of a domain's cookies go. */
export const confineCookies = (headers: IncomingHttpHeaders): void => {
  const set = headers["set-cookie"]
  if (set !== undefined) {
    const kept = set.filter((cookie) => !isForDomain(cookie) && !isOurs(cookie))
    if (kept.length > 0) headers["set-cookie"] = kept
    else delete headers["set-cookie"]
  }
  const wiped = headers["clear-site-data"]
  if (wiped !== undefined) {
    const kept = String(wiped)
      .split(",")
      .map((kind) => kind.trim())
      // Of cookies a browser wipes the whole domain's, which are the neighbours' too.
      .filter((kind) => kind !== '"cookies"' && kind !== '"*"')
    if (kept.length > 0) headers["clear-site-data"] = kept.join(", ")
    else delete headers["clear-site-data"]
  }
}

/** The neighbours are in the domain: they would be sent it, or have it set over theirs. */
const isForDomain = (cookie: string) =>
  cookie
    .split(";")
    .slice(1)
    .some((attribute) => attribute.split("=")[0]?.trim().toLowerCase() === "domain")

/** A cookie without a name is sent as its value alone, which may look like a name and a value. */
const isOurs = (cookie: string) => {
  const pair = (cookie.split(";")[0] ?? "").trim().replace(/^=\s*/, "").toLowerCase()
  return pair === NAME || (pair.startsWith(NAME) && pair.slice(NAME.length).trimStart().startsWith("="))
}
