/** A URL's CORS configuration: it answers preflights, and goes before what the function says of it. */
import type { IncomingHttpHeaders } from "node:http"
import type { UrlCors } from "../../src/db/function-values.ts"
import type { EdgeAnswer } from "../errors.ts"
import type { RequestHead } from "../admission/request-head.ts"

/** Whether somebody is let in by it; without origins the function is left to say all of it. */
export const isConfigured = (cors: UrlCors | null): cors is UrlCors => (cors?.AllowOrigins ?? []).length > 0

/** A browser's question whether a page may ask what it is about to. */
export const isPreflight = ({ method, headers }: RequestHead): boolean =>
  method === "OPTIONS" && headers.origin !== undefined && headers["access-control-request-method"] !== undefined

/** The answer to a preflight; for an origin that isn't let in it allows nothing. */
export const answerPreflight = (cors: UrlCors, { headers }: RequestHead, requestId: string): EdgeAnswer => {
  const allowed = originFor(cors, headers.origin)
  const list = (name: string, values: readonly string[] | undefined) =>
    values === undefined || values.length === 0 ? {} : { [name]: values.join(",") }
  return {
    status: 200,
    body: "",
    headers: {
      "content-length": 0,
      "x-amzn-requestid": requestId,
      ...corsHeaders(cors, headers.origin),
      ...(allowed === undefined
        ? {}
        : {
            ...list("access-control-allow-methods", cors.AllowMethods),
            ...list("access-control-allow-headers", cors.AllowHeaders),
            ...(cors.MaxAge === undefined ? {} : { "access-control-max-age": String(cors.MaxAge) }),
          }),
    },
  }
}

/** What an answer to a page of that origin says. */
export const corsHeaders = (cors: UrlCors, origin: string | undefined): Record<string, string> => {
  const allowed = originFor(cors, origin)
  const exposed = cors.ExposeHeaders ?? []
  return {
    // Caches keep answers to other origins apart.
    ...(cors.AllowOrigins?.includes("*") === true ? {} : { vary: "Origin" }),
    ...(allowed === undefined
      ? {}
      : {
          "access-control-allow-origin": allowed,
          ...(cors.AllowCredentials === true ? { "access-control-allow-credentials": "true" } : {}),
          ...(exposed.length === 0 ? {} : { "access-control-expose-headers": exposed.join(",") }),
        }),
  }
}

/** Changes a function's headers in place: what they say of CORS gives way. */
export const applyCors = (headers: IncomingHttpHeaders, cors: UrlCors, origin: string | undefined): void => {
  for (const name of Object.keys(headers)) if (name.startsWith("access-control-")) delete headers[name]
  const { vary, ...ours } = corsHeaders(cors, origin)
  Object.assign(headers, ours)
  if (vary !== undefined) headers.vary = headers.vary === undefined ? vary : `${headers.vary}, ${vary}`
}

const originFor = ({ AllowOrigins = [] }: UrlCors, origin: string | undefined): string | undefined => {
  if (origin === undefined) return undefined
  if (AllowOrigins.includes("*")) return "*"
  return AllowOrigins.some((allowed) => allowed.toLowerCase() === origin.toLowerCase()) ? origin : undefined
}
