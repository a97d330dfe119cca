/** Who may go where: Host, token, port. The same for requests and upgrades; nothing of the body is read before. */
import type { IncomingMessage } from "node:http"
import { allowsPort, type Tokens } from "../src/tokens/tokens.ts"
import { EdgeError } from "./errors.ts"
import type { Router, VmTarget } from "./route.ts"

/** What a request says about itself. */
export interface Claim {
  readonly token: string | undefined
  /** As sent; `undefined` is the default. */
  readonly port: string | undefined
}

export interface Admitted {
  readonly target: VmTarget
  readonly port: number
}

const DEFAULT_PORT = 8080
const PORT = /^[1-9]\d{0,4}$/

/** The claim of a request's headers. */
export const claimOf = ({ headers }: IncomingMessage): Claim => ({
  token: single(headers["x-aws-proxy-auth"]),
  port: single(headers["x-aws-proxy-port"]),
})

const single = (value: string | string[] | undefined) => (Array.isArray(value) ? value.join(",") : value)

/** Lets a request in, or throws an {@link EdgeError}. */
export const admit = async (
  request: IncomingMessage,
  claim: Claim,
  router: Router,
  tokens: Tokens,
): Promise<Admitted> => {
  // An absolute target would be a second Host, and Node lets the first of two Host headers win.
  if (!request.url?.startsWith("/") && request.url !== "*") throw new EdgeError("BAD_REQUEST")
  if (countOf(request.rawHeaders, "host") !== 1) throw new EdgeError("BAD_REQUEST")
  // What it was coded in besides could not be said to the application, since the coding is of this connection only.
  if (!/^chunked$/i.test(request.headers["transfer-encoding"] ?? "chunked")) throw new EdgeError("BAD_REQUEST")
  if (claim.token === undefined) throw new EdgeError("MISSING_AUTHENTICATION")
  const grant = await tokens.verify(claim.token)
  if (grant === undefined) throw new EdgeError("MISSING_AUTHENTICATION")
  if (grant === "expired") throw new EdgeError("AUTHENTICATION_FAILED")
  const target = await router.find(hostOf(request))
  if (target === undefined || target.vmId !== grant.vmId) throw new EdgeError("AUTHENTICATION_FAILED")
  const port = claim.port === undefined ? DEFAULT_PORT : parsePort(claim.port)
  if (!allowsPort(grant, port)) throw new EdgeError("PORT_DENIED")
  return { target, port }
}

const parsePort = (text: string): number => {
  if (!PORT.test(text) || Number(text) > 65535) throw new EdgeError("BAD_PORT")
  return Number(text)
}

const hostOf = ({ headers }: IncomingMessage) =>
  (headers.host ?? "").replace(/:\d+$/, "").replace(/\.$/, "").toLowerCase()

const countOf = (rawHeaders: readonly string[], name: string) =>
  rawHeaders.filter((text, index) => index % 2 === 0 && text.toLowerCase() === name).length
