/** Who may go where: Host, token, port. The same for requests and upgrades of every version; nothing of the body is read before. */
import { allowsPort, type Grant, type Tokens } from "../../src/tokens/tokens.ts"
import { isOwnPage } from "../browser/own-page.ts"
import { EdgeError } from "../errors.ts"
import { whenKnown } from "../when-known.ts"
import type { Router, VmTarget } from "../route.ts"
import type { Claim } from "./claim.ts"
import { parseHost } from "./host.ts"
import type { RequestHead } from "./request-head.ts"

export interface Admitted {
  readonly target: VmTarget
  readonly port: number
  /** What it was let in by. */
  readonly token: string
}

const DEFAULT_PORT = 8080
const PORT = /^[1-9]\d{0,4}$/

/**
 * Lets a request in, or throws or rejects with an {@link EdgeError}. Its port is what the header says, else the subprotocol, else the host, else the
 * cookie: what a client says for one request goes before what its address says for all of them.
 */
export const admit = (
  head: RequestHead,
  claim: Claim,
  router: Router,
  tokens: Tokens,
): Admitted | Promise<Admitted> => {
  const isByCookie = claim.token === undefined && claim.cookie !== undefined
  const token = claim.token ?? claim.cookie
  if (token === undefined) throw new EdgeError("MISSING_AUTHENTICATION")
  if (isByCookie && !isOwnPage(head)) throw new EdgeError("FOREIGN_PAGE")
  return whenKnown(tokens.verify(token, isByCookie ? "cookie" : "proxy"), (grant) => {
    if (grant === undefined) throw new EdgeError("MISSING_AUTHENTICATION")
    if (grant === "expired") throw new EdgeError("AUTHENTICATION_FAILED")
    const host = parseHost(head.host)
    return whenKnown(router.find(host.name), (target) => {
      if (target === undefined || target.vmId !== grant.vmId) throw new EdgeError("AUTHENTICATION_FAILED")
      const port =
        claim.port === undefined
          ? (host.port ?? (isByCookie ? portOf(grant) : undefined) ?? DEFAULT_PORT)
          : parsePort(claim.port)
      if (!target.isOpen || !allowsPort(grant, port)) throw new EdgeError("PORT_DENIED")
      return { target, port, token: grant.token }
    })
  })
}

/** A cookie is for one port. */
const portOf = ({ ports: [range] }: Grant) => range?.from

/** Reads a port as a client says it. */
export const parsePort = (text: string): number => {
  if (!PORT.test(text) || Number(text) > 65535) throw new EdgeError("BAD_PORT")
  return Number(text)
}
