/**
 * The way into the guest: the owner's http-proxy, with a pool of connections for each VM. A pool is dropped when its VM sleeps or ends,
 * since the address may be another's next: no connection ever crosses VMs.
 */
import { Agent, type ClientRequest, type IncomingMessage, type ServerResponse } from "node:http"
import type { Socket } from "node:net"
import httpProxy from "http-proxy"
import { EdgeError } from "./errors.ts"
import { prepareAnswer } from "./headers.ts"

export interface Upstream {
  /** Resolves when the exchange is over; rejects with an {@link EdgeError} while nothing was answered yet. */
  request(request: IncomingMessage, response: ServerResponse, at: Place): Promise<void>
  upgrade(
    request: IncomingMessage,
    socket: Socket,
    head: Buffer,
    at: Place & { fallbackProtocol: string | undefined },
  ): Promise<void>
  drop(vmId: string): void
}

export interface Place {
  readonly vmId: string
  readonly address: string
  readonly port: number
  readonly requestId: string
}

/** How long a connection to a guest may take: it is on this host, so a full second is a sign. */
const CONNECT_TIMEOUT_MS = 5000
const MAX_IDLE_CONNECTIONS = 16

/** Connections to guests; `drop` closes a VM's. */
export const createUpstream = (): Upstream => {
  const agents = new Map<string, Agent>()
  const proxy = httpProxy.createProxyServer({ xfwd: false, changeOrigin: false })

  const agentOf = (vmId: string) => {
    const known = agents.get(vmId)
    if (known !== undefined) return known
    const agent = new Agent({ keepAlive: true, maxFreeSockets: MAX_IDLE_CONNECTIONS })
    agents.set(vmId, agent)
    return agent
  }

  const targetOf = ({ address, port }: Place) => ({ protocol: "http:", host: address, hostname: address, port })

  proxy.on("proxyReq", (outgoing: ClientRequest) => {
    const timer = setTimeout(
      () => outgoing.destroy(new Error("The guest did not accept the connection in time")),
      CONNECT_TIMEOUT_MS,
    )
    const clear = () => clearTimeout(timer)
    outgoing
      .once("socket", (socket) => (socket.connecting ? socket.once("connect", clear) : clear()))
      .once("close", clear)
  })

  const send = (request: IncomingMessage, response: ServerResponse, at: Place, agent: Agent | false) =>
    new Promise<void>((resolve, reject) => {
      response.once("close", resolve)
      proxy.web(request, response, { target: targetOf(at), agent: agent === false ? new Agent() : agent }, (error) => {
        response.off("close", resolve)
        reject(error)
      })
    })

  proxy.on("proxyRes", (answer, request: IncomingMessage & { requestId?: string }) =>
    prepareAnswer(answer.headers, request.requestId ?? ""),
  )

  return {
    async request(request, response, at) {
      Object.assign(request, { requestId: at.requestId })
      try {
        await send(request, response, at, agentOf(at.vmId))
      } catch (error) {
        if (response.headersSent || response.destroyed) {
          response.destroy()
          return
        }
        if (!isStale(error, request)) throw new EdgeError("APP_CONNECT_FAILED", { cause: error })
        // The application closed a kept connection while we took it: nothing of the request was answered, and it has no body to lose.
        await send(request, response, at, false).catch((again: unknown) => {
          if (response.headersSent) response.destroy()
          else throw new EdgeError("APP_CONNECT_FAILED", { cause: again })
        })
      }
    },
    upgrade: (request, socket, head, at) =>
      new Promise<void>((resolve, reject) => {
        socket.once("close", () => resolve())
        const prepare = (outgoing: ClientRequest, incoming: IncomingMessage) => {
          if (incoming !== request) return
          proxy.off("proxyReqWs", prepare)
          const tidy = (answer: IncomingMessage) => {
            prepareAnswer(answer.headers, at.requestId)
            if (answer.statusCode === 101 && at.fallbackProtocol !== undefined)
              answer.headers["sec-websocket-protocol"] ??= at.fallbackProtocol
          }
          outgoing.prependListener("upgrade", tidy)
          outgoing.prependListener("response", tidy)
        }
        proxy.on("proxyReqWs", prepare)
        proxy.ws(request, socket, head, { target: targetOf(at) }, (error) => {
          proxy.off("proxyReqWs", prepare)
          reject(new EdgeError("APP_CONNECT_FAILED", { cause: error }))
        })
      }),
    drop(vmId) {
      agents.get(vmId)?.destroy()
      agents.delete(vmId)
    },
  }
}

const isStale = (error: unknown, request: IncomingMessage) =>
  (error as NodeJS.ErrnoException).code === "ECONNRESET" &&
  (request.method === "GET" || request.method === "HEAD") &&
  request.headers["content-length"] === undefined &&
  request.headers["transfer-encoding"] === undefined
