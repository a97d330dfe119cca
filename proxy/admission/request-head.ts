import type { IncomingHttpHeaders } from "node:http"

/** What a request says before its body, whatever version of HTTP carries it. */
export interface RequestHead {
  readonly method: string
  /** Path and query, as sent. */
  readonly path: string
  /** `Host` or `:authority`, as sent. */
  readonly host: string
  /** Lower-case names, no pseudo-headers; passes change them in place into those that the application gets. */
  readonly headers: IncomingHttpHeaders
}
