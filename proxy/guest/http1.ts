/**
 * The way of a request to an application that speaks HTTP/1.1. http-proxy makes the outgoing request and feeds it the body; what it gets
 * wrong is done here: the framing of a DELETE, the path, half answers, and clients that leave.
 */
import type { ClientRequest, IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http"
import type { Socket } from "node:net"
import httpProxy from "http-proxy"
import type { Exchange } from "../exchange.ts"
import { prepareTrailers } from "../headers.ts"
import { AttemptError, type Place } from "./place.ts"
import { limitConnect, type Agents } from "./pools.ts"
import { toGuestAnswer } from "./answer.ts"

/** What an attempt sends over, and looks at before it passes an answer on. */
export interface Http1Options {
  readonly agents: Agents
  readonly isTls: boolean
  /** Whether an answer may be passed on; what it throws ends the attempt. */
  readonly accept?: (answer: IncomingMessage) => Promise<void> | undefined
}

/** Makes one attempt; resolves when the exchange is over, rejects with an {@link AttemptError} while nothing was answered. */
export type SendHttp1 = (exchange: Exchange, at: Place, options: Http1Options) => Promise<void>

/** One attempt at an exchange, as http-proxy tells of it. */
interface Attempt {
  onOutgoing(outgoing: ClientRequest): void
  onAnswer(answer: IncomingMessage): void
}

/** Answers before the answer that are passed on; an application may send them without end. */
const MAX_INFORMED = 16

export const createSendHttp1 = (): SendHttp1 => {
  const attempts = new WeakMap<object, Attempt>()
  const proxy = httpProxy
    .createProxyServer({ selfHandleResponse: true, toProxy: true, secure: false })
    .on("proxyReq", (outgoing, request) => attempts.get(request)?.onOutgoing(outgoing))
    .on("proxyRes", (answer, request) => attempts.get(request)?.onAnswer(answer))

  return (exchange, { address, port, requestId }, { agents, isTls, accept }) =>
    new Promise<void>((resolve, reject) => {
      let outgoing: ClientRequest | undefined
      const { body, head } = exchange
      const isFramedByChunks = exchange.hasBody && head.headers["content-length"] === undefined
      const fail = (cause: unknown) => reject(new AttemptError(cause, outgoing?.reusedSocket ?? false))

      const onOver = () => {
        // An answer may be over before its request: the rest of the body still goes where it was going, or nowhere.
        if (body.readableEnded || body.destroyed) resolve()
        else if (outgoing === undefined || outgoing.destroyed) {
          exchange.discardBody()
          resolve()
        }
      }
      exchange.onOver(() => {
        if (!exchange.isAnsweredWhole) outgoing?.destroy()
        body.once("close", onOver)
        outgoing?.once("close", onOver)
        onOver()
      })

      const answer = (answered: IncomingMessage) => {
        if (answered.destroyed) throw new Error("The application broke off its answer")
        if (!exchange.isOver) exchange.answer(toGuestAnswer(answered, head.method, requestId))
      }
      const refuse = (error: unknown) => {
        outgoing?.destroy()
        fail(error)
      }

      const source = toSource(exchange)
      attempts.set(source, {
        onOutgoing(made) {
          outgoing = made
          if (exchange.isOver) {
            made.destroy()
            return
          }
          limitConnect(made)
          // http-proxy joins slashes.
          made.path = head.path
          // http-proxy takes a DELETE or OPTIONS without a length to have no body, and then sends the body: it would be the next request.
          if (isFramedByChunks) {
            made.removeHeader("content-length")
            made.setHeader("transfer-encoding", "chunked")
            body.once("end", () => made.addTrailers(prepareTrailers(exchange.trailers())))
          }
          let informed = 0
          made.on("information", ({ statusCode, headers }) => {
            if (++informed <= MAX_INFORMED && !exchange.isAnswered && !exchange.isOver)
              inform(exchange, statusCode, headers)
          })
        },
        onAnswer(answered) {
          try {
            const accepted = accept?.(answered)
            if (accepted === undefined) answer(answered)
            else accepted.then(() => answer(answered)).catch(refuse)
          } catch (error) {
            refuse(error)
          }
        },
      })
      const target = { protocol: isTls ? "https:" : "http:", host: address, hostname: address, port }
      const agent = isTls ? agents.tls : agents.plain
      proxy.web(source as IncomingMessage, UNTOUCHED, { target, agent }, (error) => {
        // Once there is an answer, its end says how it went.
        if (!exchange.isAnswered && !exchange.isOver) fail(error)
      })
    })
}

/** What http-proxy looks at of a response that it doesn't write. */
const UNTOUCHED = { finished: false, on: () => UNTOUCHED } as unknown as ServerResponse

/** http-proxy wants a request to be a stream with method, url, headers and socket, and no more. */
const toSource = ({ body, head, isOver }: Exchange): object =>
  "url" in body
    ? body
    : Object.assign(body, {
        method: head.method,
        url: head.path,
        headers: head.headers,
        socket: { destroyed: isOver } as Socket,
      })

const inform = (exchange: Exchange, status: number, headers: IncomingHttpHeaders) => {
  if (status === 102 || status === 103) exchange.inform(status, prepareTrailers(headers))
}
