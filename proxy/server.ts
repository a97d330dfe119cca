/** The edge: TLS in, plain HTTP to a port of one guest. Each request goes through the same passes: claim, admit, hold, prepare, send. */
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import { createServer } from "node:https"
import type { IncomingMessage, ServerResponse } from "node:http"
import type { AddressInfo, Socket } from "node:net"
import type { Log } from "../src/log.ts"
import { OperatorError } from "../src/errors.ts"
import type { Tokens } from "../src/tokens/tokens.ts"
import { beginActivity } from "./activity.ts"
import { admit, claimOf, type Admitted, type Claim } from "./admission.ts"
import { EdgeError, toAnswer, type EdgeErrorCode } from "./errors.ts"
import { prepareRequest } from "./headers.ts"
import { RouteError, type Router } from "./route.ts"
import { createUpstream, type Place } from "./upstream.ts"
import { claimOfUpgrade } from "./websocket.ts"

export interface EdgeOptions {
  readonly router: Router
  readonly tokens: Tokens
  readonly certificate: string
  readonly key: string
  readonly address: string
  /** 0 takes any free one. */
  readonly port: number
  readonly maxRequestsPerVm: number
  readonly log: Log
}

export interface Edge {
  readonly port: number
  /** Closes every connection to a VM: it sleeps or is over, and its address may be another's. */
  drop(vmId: string): void
  /** Takes nothing new, lets what is under way end, and cuts it after `graceMs`. */
  close(graceMs: number): Promise<void>
}

const MAX_HEADER_BYTES = 32 * 1024
const HEADERS_TIMEOUT_MS = 20_000
const KEEP_ALIVE_MS = 65_000

/** Serves the edge; the caller closes it. Throws an {@link OperatorError} when the port cannot be had. */
export const openEdge = async (options: EdgeOptions): Promise<Edge> => {
  const { router, tokens, log } = options
  const upstream = createUpstream()
  const upgraded = new Set<Socket>()

  /** Counts the request as open and waits until its VM is awake; a client that gives up ends its wait. */
  const hold = async ({ target }: Admitted, gone: AbortSignal): Promise<{ address: string; end: () => void }> => {
    if (target.activity.open >= options.maxRequestsPerVm) throw new EdgeError("TOO_MANY_REQUESTS")
    const end = beginActivity(target.activity)
    try {
      return { address: target.address ?? (await target.awake(gone)), end }
    } catch (error) {
      end()
      throw error instanceof RouteError ? new EdgeError(error.code, { cause: error }) : error
    }
  }

  const pass = async (
    request: IncomingMessage,
    toClaim: () => Claim,
    requestId: string,
    connection: { once(event: "close", listener: () => void): unknown },
    send: (place: Place) => Promise<void>,
  ) => {
    const gone = new AbortController()
    connection.once("close", () => gone.abort(new Error("The client gave up")))
    const admitted = await admit(request, toClaim(), router, tokens)
    const { address, end } = await hold(admitted, gone.signal)
    try {
      prepareRequest(request, requestId)
      await send({ vmId: admitted.target.vmId, address, port: admitted.port, requestId })
    } finally {
      end()
    }
  }

  const codeOf = (error: unknown, requestId: string): EdgeErrorCode => {
    if (error instanceof EdgeError) return error.code
    log.error({ requestId, err: error }, "The edge failed")
    return "INTERNAL"
  }

  const onRequest = (request: IncomingMessage, response: ServerResponse, expectsContinue = false) => {
    const requestId = randomUUID()
    const send = (place: Place) => {
      if (expectsContinue) response.writeContinue()
      return upstream.request(request, response, place)
    }
    pass(request, () => claimOf(request), requestId, response, send).catch((error: unknown) => {
      if (response.headersSent || response.destroyed) {
        response.destroy()
        return
      }
      const { status, headers, body } = toAnswer(codeOf(error, requestId), requestId)
      // What is left of a refused body is not read; the connection cannot be used again.
      response.writeHead(status, request.complete ? headers : { ...headers, connection: "close" }).end(body)
    })
  }

  const onUpgrade = (request: IncomingMessage, socket: Socket, head: Buffer) => {
    const requestId = randomUUID()
    let fallbackProtocol: string | undefined
    const claim = () => {
      const claimed = claimOfUpgrade(request)
      fallbackProtocol = claimed.fallbackProtocol
      return claimed
    }
    upgraded.add(socket)
    socket.once("close", () => upgraded.delete(socket)).on("error", () => {})
    pass(request, claim, requestId, socket, (place) =>
      upstream.upgrade(request, socket, head, { ...place, fallbackProtocol }),
    ).catch((error: unknown) => {
      const { status, headers, body } = toAnswer(codeOf(error, requestId), requestId)
      const lines = Object.entries({ ...headers, connection: "close" }).map(
        ([name, value]) => `${name}: ${String(value)}\r\n`,
      )
      if (socket.writable) socket.end(`HTTP/1.1 ${status} \r\n${lines.join("")}\r\n${body}`)
    })
  }

  const server = createServer({
    key: options.key,
    cert: options.certificate,
    ALPNProtocols: ["http/1.1"],
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: HEADERS_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    // Streams and uploads may take as long as they need; the headers may not.
    requestTimeout: 0,
  })
  server.on("request", (request: IncomingMessage, response: ServerResponse) => onRequest(request, response))
  // Said when it is let in and its VM awake: only then is a body wanted.
  server.on("checkContinue", (request: IncomingMessage, response: ServerResponse) => onRequest(request, response, true))
  server.on("upgrade", onUpgrade).on("tlsClientError", () => {})
  server.listen(options.port, options.address)
  await once(server, "listening").catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EADDRINUSE") throw error
    throw new OperatorError(
      `The edge's port ${options.port} on ${options.address} is in use; stop what listens there or set TORPOR_EDGE_PORT.`,
    )
  })

  return {
    port: (server.address() as AddressInfo).port,
    drop: (vmId) => upstream.drop(vmId),
    close: (graceMs) =>
      new Promise<void>((resolve) => {
        const cut = setTimeout(() => {
          server.closeAllConnections()
          for (const socket of upgraded) socket.destroy()
        }, graceMs)
        server.close(() => {
          clearTimeout(cut)
          resolve()
        })
        server.closeIdleConnections()
        for (const socket of upgraded) socket.end()
      }),
  }
}
