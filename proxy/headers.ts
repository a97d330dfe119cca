/** What a request and an answer may not carry through the edge, and what only the edge may say. */
import type { IncomingHttpHeaders } from "node:http"
import { confineCookies } from "./browser/set-cookie.ts"

/** To a CGI or WSGI application an underscore is a hyphen. */
const OURS = /^(?:x[-_]aws[-_]proxy[-_].*|x[-_]forwarded[-_].*|forwarded|x[-_]amzn[-_]requestid|expect)$/

/** Names under which the edge says what went wrong. */
const ERRORS = /^x-aws-proxy-/

/** Of one connection, not of the message: RFC 9110, 7.6.1. The next connection frames the body anew. */
const HOP_BY_HOP = new Set([
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
])

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

/** The headers that the application gets, of a request with these. */
export const prepareRequest = (
  headers: IncomingHttpHeaders,
  { host, remoteAddress, requestId }: Sender,
): IncomingHttpHeaders => {
  const prepared = endToEnd(headers, OURS)
  if (headers.te !== undefined && /(?:^|,)\s*trailers\s*(?:$|,)/i.test(String(headers.te))) prepared.te = "trailers"
  prepared["x-amzn-requestid"] = requestId
  prepared["x-forwarded-for"] = remoteAddress
  prepared["x-forwarded-proto"] = "https"
  prepared["x-forwarded-host"] = host
  return prepared
}

/** The headers that the client gets, of an answer with these: an application cannot speak as the edge. */
export const prepareAnswer = (headers: IncomingHttpHeaders, requestId: string): IncomingHttpHeaders => {
  const prepared = endToEnd(headers, ERRORS)
  confineCookies(prepared)
  prepared["x-amzn-requestid"] = requestId
  return prepared
}

/** The trailers that may go on, either way. */
export const prepareTrailers = (trailers: IncomingHttpHeaders): IncomingHttpHeaders =>
  Object.fromEntries(
    Object.entries(trailers).filter(([name]) => !name.startsWith(":") && !OURS.test(name) && !NEVER_TRAILED.has(name)),
  )

/** A copy without what is one connection's, and without names like `refused`: V8 makes every other use of an object slow that something is deleted from. */
const endToEnd = (headers: IncomingHttpHeaders, refused: RegExp): IncomingHttpHeaders => {
  const named = namedBy(headers.connection)
  const kept: IncomingHttpHeaders = {}
  for (const name in headers)
    if (!HOP_BY_HOP.has(name) && named?.has(name) !== true && !refused.test(name)) kept[name] = headers[name]
  return kept
}

/** What `Connection` names as its own; nothing in what nearly all say. */
const namedBy = (connection: string | undefined): ReadonlySet<string> | undefined => {
  if (connection === undefined || connection === "keep-alive" || connection === "close") return undefined
  const names = connection.split(",").map((name) => name.trim().toLowerCase())
  return new Set(names.filter((name) => !NEVER_NAMED.has(name)))
}
