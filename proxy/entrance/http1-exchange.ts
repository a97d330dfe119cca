import {
  STATUS_CODES,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type ServerResponse,
} from "node:http"
import type { TLSSocket } from "node:tls"
import type { RequestHead } from "../admission/request-head.ts"
import { carry } from "../carry.ts"
import { tlsOf, type Exchange, type GuestAnswer } from "../exchange.ts"
import { prepareTrailers } from "../headers.ts"
import { discardRest } from "./discard.ts"

/** What fits into one record of TLS with a head. */
const MAX_TEXT_BYTES = 8192
const PRINTABLE = /^[\t\x20-\x7e\x80-\xff]*$/

export interface Http1Exchange extends Exchange {
  readonly request: IncomingMessage
}

/** The head of an HTTP/1.1 request; its headers are the request's own, and change with it. */
export const toRequestHead = ({ method = "GET", url = "/", headers }: IncomingMessage): RequestHead => ({
  method,
  path: url,
  host: headers.host ?? "",
  headers,
})

/** An exchange over HTTP/1.1; `expectsContinue` says that the client waits to be asked for its body. */
export const createHttp1Exchange = (
  request: IncomingMessage,
  response: ServerResponse,
  requestId: string,
  expectsContinue: boolean,
): Http1Exchange => {
  const { headers } = request
  let isAskedFor = !expectsContinue
  const listeners: (() => void)[] = []
  response.once("close", () => {
    for (const listener of listeners) listener()
  })
  return {
    request,
    requestId,
    head: toRequestHead(request),
    fields: request.rawHeaders,
    tls: () => tlsOf(request.socket as TLSSocket),
    remoteAddress: request.socket.remoteAddress,
    remotePort: request.socket.remotePort,
    body: request,
    hasBody: headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0,
    trailers: () => request.trailers,
    isOver() {
      return response.closed
    },
    onOver: (listener) => void listeners.push(listener),
    protocol: "http/1.1",
    status() {
      return response.headersSent ? response.statusCode : undefined
    },
    isAnsweredWhole() {
      return response.writableFinished
    },
    askForBody() {
      if (!isAskedFor) response.writeContinue()
      isAskedFor = true
    },
    inform(status, informed) {
      // Behind another's answer it has no socket yet; a client of HTTP/1.0 would take it for the answer: RFC 9110, 15.2.
      if (response.socket?.writable && request.httpVersionMinor > 0)
        response.socket.write(toInformation(status, informed), "latin1")
    },
    answer: (answer) => relay(answer, response),
    answerInstead({ status, headers: own, body }) {
      if (response.headersSent || response.destroyed) {
        response.destroy()
        return
      }
      // Nobody can tell whether a body follows that was never asked for: the connection ends here.
      if (!isAskedFor) response.shouldKeepAlive = false
      response.writeHead(status, own).end(body)
    },
    breakOff: () => void response.destroy(),
    discardBody() {
      if (request.complete) request.resume()
      else if (!isAskedFor) return
      // An answer that a client reads slowly is not cut for what it sends meanwhile.
      else if (response.headersSent && !response.closed) response.once("close", () => discardRest(request))
      else discardRest(request)
    },
  }
}

/** By hand: Node throws at links that it doesn't know the form of, two in one line among them. */
const toInformation = (status: number, informed: IncomingHttpHeaders): string => {
  const lines = Object.entries(informed).flatMap(([name, value]) => [value].flat().map((one) => `${name}: ${one}`))
  return [`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}`, ...lines, "\r\n"].join("\r\n")
}

const relay = (answer: GuestAnswer, response: ServerResponse): void => {
  const { status, statusMessage, headers, body } = answer
  if (PRINTABLE.test(statusMessage)) response.writeHead(status, statusMessage, headers as OutgoingHttpHeaders)
  else response.writeHead(status, headers as OutgoingHttpHeaders)
  if (Buffer.isBuffer(body)) {
    // As text Node sends it with the head in one write and one record of TLS.
    if (body.length <= MAX_TEXT_BYTES) response.end(body.toString("latin1"), "latin1")
    else response.end(body)
    return
  }
  body.once("end", () => {
    // All at once, since each call forgets the one before. It sends them behind chunks only, which is where HTTP/1.1 has a place for them.
    response.addTrailers(prepareTrailers(answer.trailers()))
  })
  // Either side's end is the other's. By hand: stream.pipeline() makes an AbortController and a DOMException for every answer.
  body
    .on("error", () => {})
    .once("close", () => {
      if (!body.readableEnded) response.destroy()
    })
  response.once("close", () => body.destroy())
  carry(body, response, answer.isOwned)
  // The head goes with the body's first bytes when they are there already, else alone: a stream of events may be silent for long.
  const flush = setImmediate(() => {
    if (!response.writableEnded && !response.destroyed) response.flushHeaders()
  })
  body.once("data", () => clearImmediate(flush))
}
