/** What a request and an answer may not carry through the edge, and what only the edge may say. */
import type { IncomingHttpHeaders, IncomingMessage } from "node:http"

const OURS = /^(?:x-aws-proxy-.*|x-forwarded-.*|forwarded|x-amzn-requestid|expect)$/

/** Of one connection, not of the message: RFC 9110, 7.6.1. How a body is framed is said anew for the next connection. */
const HOP_BY_HOP = [
  "connection",
  "keep-alive",
  "proxy-connection",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "trailer",
  "upgrade",
]

/** What `Connection` cannot name: without them the rest of the message would be read as another one. */
const NEVER_NAMED = new Set(["host", "content-length", "transfer-encoding"])

/** Changes a request's headers in place into those that the application gets. */
export const prepareRequest = (request: IncomingMessage, requestId: string): void => {
  const { headers, socket } = request
  const host = headers.host ?? ""
  removeHopByHop(headers)
  for (const name of Object.keys(headers)) if (OURS.test(name)) delete headers[name]
  headers["x-amzn-requestid"] = requestId
  headers["x-forwarded-for"] = socket.remoteAddress ?? ""
  headers["x-forwarded-proto"] = "https"
  headers["x-forwarded-host"] = host
}

/** Changes an answer's headers in place into those that the client gets: an application cannot speak as the edge. */
export const prepareAnswer = (headers: IncomingHttpHeaders, requestId: string): void => {
  removeHopByHop(headers)
  delete headers["transfer-encoding"]
  for (const name of Object.keys(headers)) if (name.startsWith("x-aws-proxy-")) delete headers[name]
  headers["x-amzn-requestid"] = requestId
}

const removeHopByHop = (headers: IncomingHttpHeaders): void => {
  const named = (headers.connection ?? "").split(",").map((name) => name.trim().toLowerCase())
  for (const name of named) if (!NEVER_NAMED.has(name)) delete headers[name]
  for (const name of HOP_BY_HOP) delete headers[name]
}
