/**
 * The way of a request with a body to an application that speaks HTTP/1.1. http-proxy-3 makes the outgoing request; how it is framed,
 * fed, answered and given up is done here. (Not http-proxy: it leaves the guest's connection open when a client leaves, and a `Trailer` ends it.)
 */
import type { ClientRequest, IncomingMessage, ServerResponse } from "node:http"
import type { Readable, Stream } from "node:stream"
import { createProxyServer } from "http-proxy-3"
import type { RequestHead } from "../admission/request-head.ts"
import { carry } from "../carry.ts"
import type { Exchange } from "../exchange.ts"
import { prepareTrailers } from "../headers.ts"
import { inform, isEventStream, toAnswerOfNode } from "./answer.ts"
import { AttemptError, type Place } from "./place.ts"
import { limitConnect, meterSocket, type Agents } from "./pools.ts"

/** What an attempt is sent over. */
export interface Http1Options {
  readonly agents: Agents
  readonly isTls: boolean
}

// Certificates of guests are nobody's word for anything: TLS is what an application speaks, not what protects it.
const proxy = createProxyServer({ selfHandleResponse: true, toProxy: true, secure: false })

/** Makes one attempt; resolves when the exchange is over, rejects with an {@link AttemptError} while nothing was answered. */
export const sendHttp1 = (
  exchange: Exchange,
  { address, port, connectTimeoutMs, head, requestId, meter, onEndless }: Place,
  { agents, isTls }: Http1Options,
): Promise<void> =>
  new Promise<void>((resolve, reject) => {
    let outgoing: ClientRequest | undefined
    const { body } = exchange
    const isOfUnknownLength = head.headers["content-length"] === undefined

    const fail = (cause: unknown) => {
      // Once there is an answer, its end says how it went; destroying its request would drop what of it waits to be read.
      if (exchange.status() !== undefined || exchange.isOver()) return
      outgoing?.destroy()
      reject(new AttemptError(cause, outgoing?.reusedSocket ?? false))
    }
    const onOver = () => {
      // An answer may be over before its request: the rest of the body still goes where it was going, or nowhere.
      if (body.readableEnded || body.destroyed) resolve()
      else if (outgoing === undefined || outgoing.destroyed) {
        exchange.discardBody()
        resolve()
      }
    }
    exchange.onOver(() => {
      if (!exchange.isAnsweredWhole()) outgoing?.destroy()
      body.once("close", onOver)
      outgoing?.once("close", onOver)
      onOver()
    })

    const onAnswer = (answer: IncomingMessage) => {
      if (exchange.isOver()) return
      try {
        exchange.answer(toAnswerOfNode(answer, head.method, requestId))
        if (isEventStream(answer.headers)) onEndless()
      } catch (error) {
        fail(error)
      }
    }

    /** Takes the outgoing request before anything of it is sent. */
    const feed = (made: ClientRequest) => {
      outgoing = made
      limitConnect(made, connectTimeoutMs, meter)
      // http-proxy-3 takes a path for a URL's.
      made.path = head.path
      let informed = 0
      made
        .once("socket", (socket) => made.once("close", meterSocket(socket, meter)))
        .once("response", onAnswer)
        .once("close", () => {
          if (exchange.status() !== undefined && !body.readableEnded) exchange.discardBody()
        })
        .on("information", ({ statusCode, headers }) => {
          if (!inform(exchange, ++informed, statusCode, headers))
            made.destroy(new Error("The application sends answers before its answer without end"))
        })
      // http-proxy-3 takes a DELETE or OPTIONS without a length to have no body: what follows would be the next request.
      if (isOfUnknownLength) {
        made.removeHeader("content-length")
        made.setHeader("transfer-encoding", "chunked")
        body.once("end", () => made.addTrailers(prepareTrailers(exchange.trailers())))
      }
      // Those of HTTP/2 are parts of what the connection read.
      carry(body, made, exchange.protocol === "http/1.1")
    }

    proxy.web(
      toSource(body, head),
      UNTOUCHED,
      {
        target: { protocol: isTls ? "https:" : "http:", host: address, port },
        agent: isTls ? agents.tls : agents.plain,
        buffer: { pipe: feed } as unknown as Stream,
      },
      fail,
    )
  })

/** http-proxy-3 wants a request to be a stream with method, url, headers and socket, and no more. */
const toSource = (body: Readable, { method, path, headers }: RequestHead): IncomingMessage =>
  Object.assign(body, "url" in body ? { headers } : { method, url: path, headers, socket: {} }) as IncomingMessage

/** What it looks at of a response that it doesn't write. */
const UNTOUCHED = { finished: false, headersSent: false, on: () => UNTOUCHED } as unknown as ServerResponse
