/** What a request and an answer may not carry through the edge, and what only the edge may say. */
import type { IncomingHttpHeaders, IncomingMessage } from "node:http"

const OURS = /^(?:x-aws-proxy-.*|x-forwarded-.*|forwarded|x-amzn-requestid|expect)$/

/** Changes a request's headers in place into those that the application gets. */
export const prepareRequest = (request: IncomingMessage, requestId: string): void => {
  const { headers, socket } = request
  const host = headers.host ?? ""
  for (const name of Object.keys(headers)) if (OURS.test(name)) delete headers[name]
  headers["x-amzn-requestid"] = requestId
  headers["x-forwarded-for"] = socket.remoteAddress ?? ""
  headers["x-forwarded-proto"] = "https"
  headers["x-forwarded-host"] = host
}

/** Changes an answer's headers in place into those that the client gets: an application cannot speak as the edge. */
export const prepareAnswer = (headers: IncomingHttpHeaders, requestId: string): void => {
  for (const name of Object.keys(headers)) if (name.startsWith("x-aws-proxy-")) delete headers[name]
  headers["x-amzn-requestid"] = requestId
}
