/** The edge: TLS in, plain HTTP to a port of one guest. Each request goes through the same passes: claim, admit, hold, prepare, send. */
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import { createServer } from "node:https"
import { ServerResponse, type IncomingMessage } from "node:http"
import type { AddressInfo, Socket } from "node:net"
import type { Log } from "../src/log.ts"
import { OperatorError } from "../src/errors.ts"
import type { Tokens } from "../src/tokens/tokens.ts"
import { beginActivity } from "./activity.ts"
import { admit, claimOf, type Admitted, type Claim } from "./admission.ts"
import { discardRest } from "./discard.ts"
import { EdgeError, toAnswer, type EdgeErrorCode } from "./errors.ts"
import { prepareRequest } from "./headers.ts"
import { createPools, type Pool } from "./pools.ts"
import { RouteError, type Router } from "./route.ts"
import { sendUpgrade } from "./upgrade.ts"
import { createSendRequest, type Place } from "./upstream.ts"
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
  const pools = createPools()
  const sendRequest = createSendRequest()
  const upgraded = new Set<Socket>()
  /** How many requests a connection has that are not answered yet. */
  const openOn = new WeakMap<Socket, number>()

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

  /** `gone` is over when the client is: nobody is woken, nothing is sent for one that left. */
  const pass = async (
    request: IncomingMessage,
    toClaim: () => Claim,
    requestId: string,
    gone: AbortSignal,
    send: (place: Place, pool: Pool) => Promise<void>,
  ) => {
    const admitted = await admit(request, toClaim(), router, tokens)
    gone.throwIfAborted()
    const { address, end } = await hold(admitted, gone)
    try {
      gone.throwIfAborted()
      prepareRequest(request, requestId)
      await send({ address, port: admitted.port, requestId }, pools.of(admitted.target.vmId))
    } finally {
      end()
    }
  }

  const codeOf = (error: unknown, requestId: string): EdgeErrorCode => {
    if (error instanceof EdgeError) return error.code
    log.error({ requestId, err: error }, "The edge failed")
    return "INTERNAL"
  }

  const refuse = (response: ServerResponse, error: unknown, requestId: string) => {
    if (response.headersSent || response.destroyed) {
      response.destroy()
      return
    }
    const { status, headers, body } = toAnswer(codeOf(error, requestId), requestId)
    response.writeHead(status, headers).end(body)
  }

  const onRequest = (request: IncomingMessage, response: ServerResponse, expectsContinue = false) => {
    const requestId = randomUUID()
    const { socket } = request
    openOn.set(socket, (openOn.get(socket) ?? 0) + 1)
    const gone = new AbortController()
    response.once("close", () => {
      openOn.set(socket, (openOn.get(socket) ?? 1) - 1)
      gone.abort(new Error("The client gave up"))
    })
    let isAskedFor = !expectsContinue
    const send = (place: Place, pool: Pool) => {
      if (expectsContinue) response.writeContinue()
      isAskedFor = true
      return sendRequest(request, response, place, pool)
    }
    pass(request, () => claimOf(request), requestId, gone.signal, send).catch((error: unknown) => {
      // Nobody can tell whether a body follows that was never asked for: the connection ends here.
      if (isAskedFor) discardRest(request)
      else response.shouldKeepAlive = false
      refuse(response, error, requestId)
    })
  }

  const onUpgrade = (request: IncomingMessage, socket: Socket, head: Buffer) => {
    upgraded.add(socket)
    socket.once("close", () => upgraded.delete(socket)).on("error", () => {})
    // Behind a request that isn't answered yet: two answers would be written over each other.
    if ((openOn.get(socket) ?? 0) > 0) {
      socket.destroy()
      return
    }
    const requestId = randomUUID()
    const gone = new AbortController()
    socket.once("close", () => gone.abort(new Error("The client gave up")))
    let response: ServerResponse | undefined
    const toResponse = () => (response ??= answerOn(socket, request))
    let fallbackProtocol: string | undefined
    const claim = () => {
      const claimed = claimOfUpgrade(request)
      fallbackProtocol = claimed.fallbackProtocol
      return claimed
    }
    pass(request, claim, requestId, gone.signal, (place, pool) =>
      sendUpgrade({ request, socket, head, toResponse }, { ...place, fallbackProtocol }, pool),
    ).catch((error: unknown) => {
      if (!socket.destroyed) refuse(toResponse(), error, requestId)
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
    // Who vanishes without a word would otherwise keep a VM awake for good.
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_MS,
    // Any other protocol is declined by answering the request: RFC 9110, 7.8.
    shouldUpgradeCallback: ({ method, headers }) => method === "GET" && headers.upgrade?.toLowerCase() === "websocket",
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
    drop: (vmId) => pools.drop(vmId),
    close: (graceMs) =>
      new Promise<void>((resolve) => {
        const cut = setTimeout(() => {
          server.closeAllConnections()
          for (const socket of upgraded) socket.destroy()
        }, graceMs)
        server.close(() => {
          clearTimeout(cut)
          pools.close()
          resolve()
        })
        server.closeIdleConnections()
        for (const socket of upgraded) socket.end()
      }),
  }
}

/** An answer instead of an upgrade, which is the connection's last. */
const answerOn = (socket: Socket, request: IncomingMessage): ServerResponse => {
  const response = new ServerResponse(request)
  response.shouldKeepAlive = false
  response.assignSocket(socket)
  return response.once("finish", () => {
    response.detachSocket(socket)
    socket.destroySoon()
  })
}
