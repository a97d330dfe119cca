/** What a request and an answer may not carry through the edge, and what only the edge may say. */
import type { IncomingHttpHeaders } from "node:http"
import { confineCookies } from "./browser/set-cookie.ts"

const OURS = /^(?:x-aws-proxy-.*|x-forwarded-.*|forwarded|x-amzn-requestid|expect)$/

/** Of one connection, not of the message: RFC 9110, 7.6.1. The next connection frames the body anew. */
const HOP_BY_HOP = [
  "connection",
  "keep-alive",
  "proxy-connection",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
]

/** What `Connection` cannot name: without them the rest of the message would be read as another one. */
const NEVER_NAMED = new Set(["host", "content-length"])

/** What no trailer may say: it frames, routes or authenticates, and it comes too late for all who look. RFC 9110, 6.5.1. */
const NEVER_TRAILED = new Set([
  ...HOP_BY_HOP,
  "host",
  "content-length",
  "content-encoding",
  "content-type",
  "content-range",
  "authorization",
  "cookie",
  "set-cookie",
  "cache-control",
  "max-forwards",
  "location",
])

/** Who asks, as the edge knows it. */
export interface Sender {
  readonly host: string
  readonly remoteAddress: string
  readonly requestId: string
}

/** Changes a request's headers in place into those that the application gets. */
export const prepareRequest = (headers: IncomingHttpHeaders, { host, remoteAddress, requestId }: Sender): void => {
  const takesTrailers = /(?:^|,)\s*trailers\s*(?:$|,)/i.test(String(headers.te ?? ""))
  removeHopByHop(headers)
  for (const name of Object.keys(headers)) if (OURS.test(name)) delete headers[name]
  if (takesTrailers) headers.te = "trailers"
  headers["x-amzn-requestid"] = requestId
  headers["x-forwarded-for"] = remoteAddress
  headers["x-forwarded-proto"] = "https"
  headers["x-forwarded-host"] = host
}

/** Changes an answer's headers in place into those that the client gets: an application cannot speak as the edge. */
export const prepareAnswer = (headers: IncomingHttpHeaders, requestId: string): void => {
  removeHopByHop(headers)
  for (const name of Object.keys(headers)) if (name.startsWith("x-aws-proxy-")) delete headers[name]
  confineCookies(headers)
  headers["x-amzn-requestid"] = requestId
}

/** The trailers that may go on, either way. */
export const prepareTrailers = (trailers: IncomingHttpHeaders): IncomingHttpHeaders =>
  Object.fromEntries(
    Object.entries(trailers).filter(([name]) => !name.startsWith(":") && !OURS.test(name) && !NEVER_TRAILED.has(name)),
  )

const removeHopByHop = (headers: IncomingHttpHeaders): void => {
  const { connection } = headers
  if (connection !== undefined)
    for (const named of connection.split(",")) {
      const name = named.trim().toLowerCase()
      if (!NEVER_NAMED.has(name)) delete headers[name]
    }
  // To delete what isn't there costs as much as what is.
  for (const name of HOP_BY_HOP) if (headers[name] !== undefined) delete headers[name]
}
