/** What the edge itself answers: one table, for requests and for upgrades that fail. Texts and statuses are AWS's. */
import type { OutgoingHttpHeaders } from "node:http"
import { toPage, wantsPage } from "./error-page.ts"

const table = {
  MISSING_AUTHENTICATION: [403, "Request missing authentication", "UNAUTHORIZED"],
  AUTHENTICATION_FAILED: [403, "Token authentication failed", "UNAUTHORIZED"],
  PORT_DENIED: [403, "Access to port denied", "UNAUTHORIZED"],
  FOREIGN_PAGE: [403, "Requests by other pages than the MicroVM's own are refused", "UNAUTHORIZED"],
  LINK_OVER: [403, "This link was used before, or is over: it is good once, for a minute", "UNAUTHORIZED"],
  BAD_PORT: [400, "The port must be a number from 1 to 65535", "BAD_REQUEST"],
  BAD_SUBPROTOCOL: [
    400,
    "The WebSocket subprotocols are malformed: offer lambda-microvms with the others",
    "BAD_REQUEST",
  ],
  BAD_REQUEST: [400, "Bad request", "BAD_REQUEST"],
  TOO_MANY_REQUESTS: [429, "Too many requests are open to this MicroVM", "TOO_MANY_REQUESTS"],
  TOO_MANY_REQUESTS_OF_TOKEN: [429, "Too many requests are open with this token", "TOO_MANY_REQUESTS"],
  TOO_MANY_REQUESTS_PER_SECOND: [429, "Too many requests in a second to this MicroVM", "TOO_MANY_REQUESTS"],
  TOO_MANY_CONNECTIONS: [429, "Too many connections are open to this MicroVM", "TOO_MANY_CONNECTIONS"],
  TOO_MANY_CONNECTIONS_OF_TOKEN: [429, "Too many connections are open with this token", "TOO_MANY_CONNECTIONS"],
  OVERLOADED: [503, "Too many requests are open to all MicroVMs together", "OVERLOADED"],
  NO_WEBSOCKETS: [400, "Function URLs take no WebSockets", "BAD_REQUEST"],
  BODY_TIMEOUT: [408, "The request's body did not come in time", "REQUEST_TIMEOUT"],
  URLS_OVERLOADED: [503, "Too many requests are open, or too large, to all function URLs together", "OVERLOADED"],
  APP_CONNECT_FAILED: [502, "", "APP_CONNECT_FAILED"],
  TERMINATED: [502, "", "MICROVM_CONNECT_FAILED"],
  SUSPENDED: [502, "", "MICROVM_CONNECT_FAILED"],
  RESUME_FAILED: [502, "", "MICROVM_CONNECT_FAILED"],
  DISCONNECTED: [502, "", "MICROVM_CONNECT_FAILED"],
  INTERNAL: [500, "Internal error", "INTERNAL"],
} as const satisfies Record<string, readonly [status: number, text: string, name: string]>

export type EdgeErrorCode = keyof typeof table
export const edgeErrorCodes = Object.keys(table) as readonly EdgeErrorCode[]

/** A refusal of the edge; thrown by any pass, answered in one place. */
export class EdgeError extends Error {
  override readonly name = "EdgeError"
  readonly code: EdgeErrorCode

  constructor(code: EdgeErrorCode, options?: ErrorOptions) {
    super(table[code][1] || code, options)
    this.code = code
  }
}

export interface EdgeAnswer {
  readonly status: number
  readonly body: string
  readonly headers: OutgoingHttpHeaders
}

export interface Refusal extends EdgeAnswer {
  /** As `x-aws-proxy-error` says it. */
  readonly name: string
}

/** The answer for a refusal: a page for a client whose `Accept` asks for one, else AWS's plain text. */
export const toAnswer = (code: EdgeErrorCode, requestId: string, accept?: string): Refusal => {
  const [status, text, name] = table[code]
  const isPage = wantsPage(accept)
  const body = isPage ? toPage(code, status, name, requestId) : text
  return {
    name,
    status,
    body,
    headers: {
      "content-type": `text/${isPage ? "html" : "plain"}; charset=utf-8`,
      "content-length": Buffer.byteLength(body),
      "cache-control": "private, no-store",
      vary: "accept",
      "x-aws-proxy-error": name,
      "x-amzn-requestid": requestId,
      ...(isPage ? { "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'" } : {}),
      ...(status === 429 || status === 503 ? { "retry-after": "1" } : {}),
    },
  }
}
