/**
 * The way of a request into the guest. http-proxy makes the outgoing request and feeds it the body; what it gets wrong is done here:
 * the framing of a DELETE, the path, half answers, and clients that leave.
 */
import type { Agent, ClientRequest, IncomingMessage, ServerResponse } from "node:http"
import httpProxy from "http-proxy"
import { discardRest } from "./discard.ts"
import { EdgeError } from "./errors.ts"
import { limitConnect, type Pool } from "./pools.ts"
import { relayAnswer } from "./relay.ts"

export interface Place {
  readonly address: string
  readonly port: number
  readonly requestId: string
}

/** Sends a request to a guest; resolves when the exchange is over, rejects with an {@link EdgeError} while nothing was answered yet. */
export type SendRequest = (request: IncomingMessage, response: ServerResponse, at: Place, pool: Pool) => Promise<void>

/** One attempt at an exchange, as http-proxy tells of it. */
interface Attempt {
  onOutgoing(outgoing: ClientRequest): void
  onAnswer(answer: IncomingMessage): void
}

export const createSendRequest = (): SendRequest => {
  const attempts = new WeakMap<IncomingMessage, Attempt>()
  const proxy = httpProxy
    .createProxyServer({ selfHandleResponse: true, toProxy: true })
    .on("proxyReq", (outgoing, request) => attempts.get(request)?.onOutgoing(outgoing))
    .on("proxyRes", (answer, request) => attempts.get(request)?.onAnswer(answer))

  const send = (
    request: IncomingMessage,
    response: ServerResponse,
    { address, port, requestId }: Place,
    agent: Agent,
  ) =>
    new Promise<void>((resolve, reject) => {
      let outgoing: ClientRequest | undefined
      const { url = "/" } = request
      const coding = request.headers["transfer-encoding"]

      const onOver = () => {
        // An answer may be over before its request: the rest of the body still goes where it was going, or nowhere.
        if (request.complete || request.destroyed) resolve()
        else if (outgoing === undefined || outgoing.destroyed) {
          discardRest(request)
          resolve()
        }
      }
      response.once("close", () => {
        if (!response.writableFinished) outgoing?.destroy()
        request.once("close", onOver)
        outgoing?.once("close", onOver)
        onOver()
      })

      attempts.set(request, {
        onOutgoing(made) {
          outgoing = made
          if (response.destroyed) {
            made.destroy()
            return
          }
          limitConnect(made)
          // http-proxy joins slashes.
          made.path = url
          // http-proxy takes a DELETE or OPTIONS without a length to have no body, and then sends the body: it would be the next request.
          if (coding !== undefined) {
            made.removeHeader("content-length")
            made.setHeader("transfer-encoding", coding)
          }
        },
        onAnswer(answer) {
          if (response.destroyed) return
          try {
            relayAnswer(answer, response, requestId)
          } catch (error) {
            outgoing?.destroy()
            reject(new AttemptError(error, false))
          }
        },
      })
      const target = { protocol: "http:", host: address, hostname: address, port }
      proxy.web(request, response, { target, agent }, (error) =>
        // Once there is an answer, its end says how it went.
        response.headersSent || response.destroyed
          ? undefined
          : reject(new AttemptError(error, outgoing?.reusedSocket ?? false)),
      )
    })

  return async (request, response, at, pool) => {
    try {
      await send(request, response, at, pool.kept).catch((error: AttemptError) => {
        if (!error.isStale || pool.isDropped || !isRepeatable(request)) throw error
        return send(request, response, at, pool.fresh)
      })
    } catch (error) {
      throw new EdgeError("APP_CONNECT_FAILED", { cause: (error as AttemptError).cause })
    }
  }
}

class AttemptError extends Error {
  override readonly name = "AttemptError"
  /** The application closed a kept connection while we took it. */
  readonly isStale: boolean

  constructor(cause: unknown, isReused: boolean) {
    super("The exchange with the application failed", { cause })
    this.isStale = isReused && ["ECONNRESET", "EPIPE"].includes((cause as NodeJS.ErrnoException).code ?? "")
  }
}

/** It has no body to lose, and asking twice changes nothing. */
const isRepeatable = ({ method, headers }: IncomingMessage) =>
  (method === "GET" || method === "HEAD") &&
  headers["content-length"] === undefined &&
  headers["transfer-encoding"] === undefined
