/** Who may go where: Host, token, port. The same for requests and upgrades of every version; nothing of the body is read before. */
import { allowsPort, type Tokens } from "../../src/tokens/tokens.ts"
import { EdgeError } from "../errors.ts"
import type { Router, VmTarget } from "../route.ts"
import type { RequestHead } from "./request-head.ts"

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
export const claimOf = ({ headers }: RequestHead): Claim => ({
  token: single(headers["x-aws-proxy-auth"]),
  port: single(headers["x-aws-proxy-port"]),
})

const single = (value: string | string[] | undefined) => (Array.isArray(value) ? value.join(",") : value)

/** Lets a request in, or throws an {@link EdgeError}. */
export const admit = async (head: RequestHead, claim: Claim, router: Router, tokens: Tokens): Promise<Admitted> => {
  if (claim.token === undefined) throw new EdgeError("MISSING_AUTHENTICATION")
  const grant = await tokens.verify(claim.token)
  if (grant === undefined) throw new EdgeError("MISSING_AUTHENTICATION")
  if (grant === "expired") throw new EdgeError("AUTHENTICATION_FAILED")
  const target = await router.find(nameOf(head.host))
  if (target === undefined || target.vmId !== grant.vmId) throw new EdgeError("AUTHENTICATION_FAILED")
  const port = claim.port === undefined ? DEFAULT_PORT : parsePort(claim.port)
  if (!allowsPort(grant, port)) throw new EdgeError("PORT_DENIED")
  return { target, port }
}

const parsePort = (text: string): number => {
  if (!PORT.test(text) || Number(text) > 65535) throw new EdgeError("BAD_PORT")
  return Number(text)
}

/** The name that a Host is about, without its port. */
const nameOf = (host: string) => host.replace(/:\d+$/, "").replace(/\.$/, "").toLowerCase()
