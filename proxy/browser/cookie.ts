/** The cookie that lets a browser into one port of one MicroVM. */
import type { IncomingHttpHeaders } from "node:http"

/** By its prefix a browser takes it from this very host only, over TLS, and no neighbour can set one over it: RFC 6265bis, 4.1.3. */
export const COOKIE = "__Host-torpor"

/** The `Set-Cookie` that makes a browser keep it. */
export const toSetCookie = (token: string, maxAgeSeconds: number): string =>
  `${COOKIE}=${token}; Max-Age=${maxAgeSeconds}; Path=/; Secure; HttpOnly; SameSite=Lax`

/**
 * Takes it out of a request: the application never gets it, and gets the others as they were sent. Several of that name are none of
 * a browser's doing, and worth nothing.
 */
export const takeCookie = (headers: IncomingHttpHeaders): string | undefined => {
  const sent = headers.cookie
  if (sent === undefined || !sent.includes(COOKIE)) return undefined
  const pairs = sent.split(";")
  const isOurs = (pair: string) => pair.trim() === COOKIE || pair.trimStart().startsWith(`${COOKIE}=`)
  const ours = pairs.filter(isOurs)
  const theirs = pairs.filter((pair) => !isOurs(pair))
  const left = isOurs(pairs[0] ?? "") ? theirs.join(";").trimStart() : theirs.join(";")
  if (left === "") delete headers.cookie
  else headers.cookie = left
  return ours.length === 1 ? ours[0]?.trim().slice(COOKIE.length + 1) : undefined
}
