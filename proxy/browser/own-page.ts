import type { RequestHead } from "../admission/request-head.ts"

/**
 * Whether a request that a browser sends its cookie with is its user's, or a page's of this very host: MicroVMs are neighbours under one
 * domain, for which the cookie's `SameSite` is no border. What a page of another host may do is lead its user here: a link.
 * A browser that says nothing of where a request comes from is believed for what changes nothing, and for nothing else.
 */
export const isOwnPage = ({ method, host, headers }: RequestHead): boolean => {
  const isOwnOrigin = headers.origin === originOf(host)
  if (headers.origin !== undefined && !isOwnOrigin) return false
  // A WebSocket is opened by a page, which may do so to any host and read all that is said.
  if (headers.upgrade !== undefined && !isOwnOrigin) return false
  const isSafe = method === "GET" || method === "HEAD"
  switch (headers["sec-fetch-site"]) {
    case "same-origin":
    case "none":
      return true
    case undefined:
      return isSafe || isOwnOrigin
    default:
      // In a tab, not in a frame of theirs.
      return isSafe && headers["sec-fetch-mode"] === "navigate" && headers["sec-fetch-dest"] === "document"
  }
}

/** As browsers write it. */
const originOf = (host: string) => `https://${host.toLowerCase().replace(/:443$/, "")}`
