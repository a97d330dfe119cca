/** AWS's WebSocket subprotocols: how a client that cannot set headers, a browser, says token and port. */
import { EdgeError } from "../errors.ts"
import { claimOf, type Claim } from "./claim.ts"
import type { RequestHead } from "./request-head.ts"

const BASE = "lambda-microvms"
const [TOKEN, PORT] = [`${BASE}.authentication.`, `${BASE}.port.`]

export interface UpgradeClaim extends Claim {
  /** What the client is told when the application chooses no subprotocol: browsers end a connection that answers none. */
  readonly fallbackProtocol: string | undefined
}

/**
 * Reads token and port out of the offered subprotocols, and takes ours out of the request, so that the application sees its own only.
 * Headers win over subprotocols.
 */
export const claimOfUpgrade = (head: RequestHead): UpgradeClaim => {
  const { headers } = head
  const offered = (headers["sec-websocket-protocol"] ?? "")
    .split(",")
    .map((text) => text.trim())
    .filter(Boolean)
  const ours = offered.filter((text) => text === BASE || text.startsWith(`${BASE}.`))
  if (ours.length === 0) return { ...claimOf(head), fallbackProtocol: undefined }
  const values = (prefix: string) =>
    ours.filter((text) => text.startsWith(prefix)).map((text) => text.slice(prefix.length))
  const [tokens, ports] = [values(TOKEN), values(PORT)]
  if (!ours.includes(BASE) || tokens.length > 1 || ports.length > 1 || ours.length !== 1 + tokens.length + ports.length)
    throw new EdgeError("BAD_SUBPROTOCOL")
  const theirs = offered.filter((text) => !ours.includes(text))
  if (theirs.length > 0) headers["sec-websocket-protocol"] = theirs.join(", ")
  else delete headers["sec-websocket-protocol"]
  const claim = claimOf(head)
  return { ...claim, token: claim.token ?? tokens[0], port: claim.port ?? ports[0], fallbackProtocol: BASE }
}
