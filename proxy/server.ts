/** The edge: TLS in, and whatever an application speaks to a port of one guest. ALPN chooses the entrance, the passes are the same. */
import { once } from "node:events"
import { createServer } from "node:https"
import type { AddressInfo, Socket } from "node:net"
import type { TLSSocket } from "node:tls"
import { OperatorError } from "../src/errors.ts"
import { serveHttp1 } from "./entrance/http1.ts"
import { openHttp2 } from "./entrance/http2.ts"
import { createPools } from "./guest/pools.ts"
import { createLimits, type RequestLimits } from "./limits/limits.ts"
import { createPasses, type PassOptions } from "./passes.ts"

/** What strangers and users may take of the edge. */
export interface EdgeLimits extends RequestLimits {
  readonly maxHeaderKiB: number
  readonly maxUrlMiB: number
  readonly handshakeTimeoutSeconds: number
  readonly headersTimeoutSeconds: number
  readonly idleTimeoutSeconds: number
  readonly connectTimeoutSeconds: number
}

export interface EdgeOptions extends EdgeLimits, Omit<PassOptions, "pools" | "limits"> {
  readonly certificate: string
  readonly key: string
  readonly address: string
  /** 0 takes any free one. */
  readonly port: number
}

export interface Edge {
  readonly port: number
  /** Closes every connection to a VM: it sleeps or is over, and its address may be another's. */
  drop(vmId: string): void
  /** Takes nothing new, lets what is under way end, and cuts it after `graceMs`. */
  close(graceMs: number): Promise<void>
}

const KEEP_ALIVE_MS = 65_000
/** How long an edge that closes waits for a first request on a connection: browsers open some ahead of time. */
const STRANGERS_MS = 1000
/** How often connections are looked at for headers that don't come: Node's own half a minute would be added to every limit. */
const MAX_CHECK_MS = 5000

/** Serves the edge; the caller closes it. Throws an {@link OperatorError} when the port cannot be had. */
export const openEdge = async ({ certificate, key, address, port, ...options }: EdgeOptions): Promise<Edge> => {
  const pools = createPools()
  const limits = createLimits(options)
  const passes = createPasses({ ...options, pools, limits })
  const maxHeaderBytes = options.maxHeaderKiB * 1024
  const headersTimeoutMs = options.headersTimeoutSeconds * 1000
  const idleMs = options.idleTimeoutSeconds * 1000
  const server = createServer({
    key,
    cert: certificate,
    // Who comes shows no certificate: Node would read those of all the world's authorities to judge it by.
    ca: [],
    ALPNProtocols: ["h2", "http/1.1"],
    maxHeaderSize: maxHeaderBytes,
    handshakeTimeout: options.handshakeTimeoutSeconds * 1000,
    headersTimeout: headersTimeoutMs,
    connectionsCheckingInterval: Math.min(MAX_CHECK_MS, headersTimeoutMs / 2),
    keepAliveTimeout: idleMs,
    // Most have no body: the stream of one that never comes would still be ended and closed, each in a turn of its own.
    optimizeEmptyRequests: true,
    // Streams and uploads may take as long as they need; the headers may not.
    requestTimeout: 0,
    // Who vanishes without a word would otherwise keep a VM awake for good.
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_MS,
    noDelay: true,
    // Any other protocol is declined by answering the request: RFC 9110, 7.8.
    shouldUpgradeCallback: ({ method, headers }) => method === "GET" && headers.upgrade?.toLowerCase() === "websocket",
  })
  const http1 = serveHttp1(server, passes.serve)
  const http2 = openHttp2(passes.serve, { maxHeaderBytes, idleMs })

  // What Node would do with every connection is right for those of HTTP/1.1 only.
  const takeHttp1 = server.listeners("secureConnection") as ((socket: TLSSocket) => void)[]
  server.removeAllListeners("secureConnection").on("secureConnection", (socket: TLSSocket) => {
    if (socket.alpnProtocol === "h2") http2.accept(socket)
    else for (const take of takeHttp1) take.call(server, socket)
  })
  server.on("tlsClientError", () => {}).on("connection", (socket: Socket) => limits.connections.accept(socket))

  server.listen(port, address)
  await once(server, "listening").catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EADDRINUSE") throw error
    throw new OperatorError(
      `The edge's port ${port} on ${address} is in use; stop what listens there or set TORPOR_EDGE_PORT.`,
    )
  })

  return {
    port: (server.address() as AddressInfo).port,
    drop: (vmId) => pools.drop(vmId),
    close: (graceMs) =>
      new Promise<void>((resolve) => {
        const cut = setTimeout(() => {
          server.closeAllConnections()
          http2.destroy()
          http1.destroy()
        }, graceMs)
        const dropStrangers = setTimeout(
          () => limits.connections.dropStrangers([...http1.inUse(), ...http2.inUse()]),
          Math.min(STRANGERS_MS, graceMs),
        )
        server.close(() => {
          clearTimeout(cut)
          clearTimeout(dropStrangers)
          pools.close()
          resolve()
        })
        http1.retire()
        http2.retire()
        passes.retire()
        server.closeIdleConnections()
      }),
  }
}
