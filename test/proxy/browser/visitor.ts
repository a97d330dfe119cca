/** A browser as far as the edge sees one: it has no token to send, keeps a cookie for each host, and says where a request comes from. */
import { once } from "node:events"
import type { IncomingMessage } from "node:http"
import { Agent, request as send } from "node:https"
import { text } from "node:stream/consumers"
import { WebSocket } from "ws"
import type { Answer, TestEdge } from "../test-edge.ts"

export interface Visitor {
  /** A request to a host, with the cookie that it set; redirects are not followed. */
  visit(host: string, path: string, options?: { method?: string; headers?: Record<string, string> }): Promise<Answer>
  /** `open`, or the status that the upgrade was refused with. */
  socket(host: string, headers?: Record<string, string>, protocols?: string[]): Promise<string>
  cookieOf(host: string): string | undefined
}

export const FOLLOWED = { "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document" }
export const OWN = { "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty" }
/** A page of another MicroVM, under the same domain: its browser sends the cookie along, whatever its `SameSite`. */
export const NEIGHBOUR = { "sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image" }

export const createVisitor = ({ edge, ca }: TestEdge): Visitor => {
  // Its connections end with the edge.
  const agent = new Agent({ ca, keepAlive: true })
  const cookies = new Map<string, string>()
  const cookieFor = (host: string) => {
    const cookie = cookies.get(host)
    return cookie === undefined ? {} : { cookie: `mine=1; ${cookie}; yours=2` }
  }
  return {
    cookieOf: (host) => cookies.get(host),
    async visit(host, path, { method = "GET", headers = {} } = {}) {
      const request = send(`https://${host}:${edge.port}${path}`, {
        agent,
        method,
        headers: { ...cookieFor(host), ...headers },
      }).end()
      const [response] = (await once(request, "response")) as [IncomingMessage]
      const [set] = response.headers["set-cookie"] ?? []
      if (set?.startsWith("__Host-")) cookies.set(host, set.split(";")[0] ?? "")
      return { status: response.statusCode ?? 0, body: await text(response), headers: response.headers }
    },
    async socket(host, headers = {}, protocols = []) {
      const socket = new WebSocket(`wss://${host}:${edge.port}/`, protocols, {
        ca,
        headers: { ...cookieFor(host), ...headers },
      })
      const result = await Promise.race([
        once(socket, "open").then(() => "open"),
        once(socket, "unexpected-response").then(([, answer]) => String((answer as IncomingMessage).statusCode)),
      ])
      socket.on("error", () => {}).terminate()
      return result
    },
  }
}
