/** The way of a browser into a MicroVM: a link, or a token, becomes a cookie of that host. */
import { LOCAL_PATH } from "../../src/tokens/links.ts"
import { allowsPort, type Tokens } from "../../src/tokens/tokens.ts"
import { parsePort } from "../admission/admission.ts"
import { parseHost } from "../admission/host.ts"
import type { RequestHead } from "../admission/request-head.ts"
import { EdgeError, type EdgeAnswer } from "../errors.ts"
import type { Router } from "../route.ts"
import { toSetCookie } from "./cookie.ts"

const ENTRANCE = "/.torpor/enter"
const DEFAULT_PORT = 8080
const LOCAL = new RegExp(`^${LOCAL_PATH}$`)

/** Whether a request is for the entrance, which no application sees. */
export const isForEntrance = ({ path }: RequestHead): boolean => path === ENTRANCE || path.startsWith(`${ENTRANCE}?`)

interface Entering {
  readonly vmId: string
  readonly port: number
  readonly path: string
  readonly expirationSeconds: number
}

/**
 * Answers a browser that enters at `?link=…`, or at `?token=…` with an ordinary token and, if it likes, a `path` and a `port`: a cookie,
 * and the way to the page. Throws an {@link EdgeError} otherwise.
 */
export const enter = async (
  head: RequestHead,
  requestId: string,
  router: Router,
  tokens: Tokens,
): Promise<EdgeAnswer> => {
  const { method, headers, host } = head
  // Who only looks ahead would use the link up, and a frame is not where a person enters.
  const isLookingAhead = method !== "GET" || String(headers["sec-purpose"] ?? "").startsWith("prefetch")
  if (isLookingAhead || (headers["sec-fetch-dest"] ?? "document") !== "document") throw new EdgeError("BAD_REQUEST")
  const query = new URLSearchParams(head.path.slice(ENTRANCE.length))
  const named = parseHost(host)
  // Behind what is signed: strangers ask for names without end, and each is a look-up.
  const inviting = async (vmId: string) => {
    const target = await router.find(named.name)
    if (vmId !== target?.vmId) throw new EdgeError("AUTHENTICATION_FAILED")
  }

  const byLink = async (token: string): Promise<Entering> => {
    const link = await tokens.links.read(token)
    if (link === undefined) throw new EdgeError("LINK_OVER")
    await inviting(link.vmId)
    if ((named.port ?? link.port) !== link.port) throw new EdgeError("PORT_DENIED")
    if (!tokens.links.spend(link)) throw new EdgeError("LINK_OVER")
    return link
  }

  const byToken = async (token: string): Promise<Entering> => {
    const grant = await tokens.verify(token)
    if (grant === undefined) throw new EdgeError("MISSING_AUTHENTICATION")
    const expirationSeconds = grant === "expired" ? 0 : grant.expiresAt - Math.ceil(Date.now() / 1000)
    if (grant === "expired" || expirationSeconds < 1) throw new EdgeError("AUTHENTICATION_FAILED")
    await inviting(grant.vmId)
    const said = query.get("port")
    const port = said === null ? (named.port ?? DEFAULT_PORT) : parsePort(said)
    if (!allowsPort(grant, port) || (named.port ?? port) !== port) throw new EdgeError("PORT_DENIED")
    const path = query.get("path") ?? "/"
    if (!LOCAL.test(path)) throw new EdgeError("BAD_REQUEST")
    return { vmId: grant.vmId, port, path, expirationSeconds }
  }

  const [link, token] = [query.get("link"), query.get("token")]
  if (link === null && token === null) throw new EdgeError("MISSING_AUTHENTICATION")
  const { vmId, port, path, expirationSeconds } = await (link === null ? byToken(token ?? "") : byLink(link))
  const cookie = await tokens.mint({ vmId, ports: [{ from: port, to: port }], expirationSeconds, purpose: "cookie" })
  return {
    status: 303,
    body: "",
    headers: {
      location: path,
      "set-cookie": toSetCookie(cookie, expirationSeconds),
      // The page would see the link in its referrer.
      "referrer-policy": "no-referrer",
      "cache-control": "no-store",
      "content-length": 0,
      "x-amzn-requestid": requestId,
    },
  }
}
