/** What HTTP's parsers let through and two of them could read differently: refused before anybody looks at who asks. */
import type { IncomingMessage } from "node:http"
import { EdgeError } from "../errors.ts"
import type { RequestHead } from "./request-head.ts"

/** Throws for a request of HTTP/1.1 that names its host twice, or is coded in a way that could not be passed on. */
export const checkHttp1 = ({ url, headers, rawHeaders }: IncomingMessage): void => {
  // An absolute target would be a second Host, and Node lets the first of two Host headers win.
  if (!url?.startsWith("/") && url !== "*") throw new EdgeError("BAD_REQUEST")
  if (countOf(rawHeaders, "host") !== 1) throw new EdgeError("BAD_REQUEST")
  // What it was coded in besides could not be said to the application, since the coding is of this connection only.
  if (!/^chunked$/i.test(headers["transfer-encoding"] ?? "chunked")) throw new EdgeError("BAD_REQUEST")
}

/** Throws for a tunnel, and for an upgrade with a body: to some applications that is a body, to others a WebSocket's first frames. */
export const checkUpgrade = ({ method, headers }: IncomingMessage): void => {
  if (method === "CONNECT") throw new EdgeError("BAD_REQUEST")
  if (headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0)
    throw new EdgeError("BAD_REQUEST")
}

/** Throws for a request of HTTP/2 that is none of ours to pass on; `authority` is the pseudo-header, `host` the field. */
export const checkHttp2 = ({ method, path }: RequestHead, authority?: string, host?: string): void => {
  if (method.toUpperCase() === "CONNECT" || (!path.startsWith("/") && path !== "*")) throw new EdgeError("BAD_REQUEST")
  // Two names: RFC 9113, 8.3.1.
  if (authority !== undefined && host !== undefined && authority !== host) throw new EdgeError("BAD_REQUEST")
}

const countOf = (rawHeaders: readonly string[], name: string) => {
  let count = 0
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const text = rawHeaders[index] ?? ""
    if (text.length === name.length && text.toLowerCase() === name) count++
  }
  return count
}
