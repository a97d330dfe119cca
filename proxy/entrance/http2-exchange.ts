import { constants, type IncomingHttpHeaders, type OutgoingHttpHeaders, type ServerHttp2Stream } from "node:http2"
import type { Readable } from "node:stream"
import type { TLSSocket } from "node:tls"
import { tlsOf, type Exchange, type GuestAnswer } from "../exchange.ts"
import { prepareTrailers } from "../headers.ts"

const { NGHTTP2_FLAG_END_STREAM, NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR } = constants

/** An exchange on one stream of HTTP/2; it takes the pseudo-headers out of the headers, which change with the exchange's. */
export const createHttp2Exchange = (
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  fields: readonly string[],
  flags: number,
  requestId: string,
): Exchange => {
  const { ":method": method = "GET", ":path": path = "", ":authority": authority, host } = headers
  const head = { method, path, host: authority ?? host ?? "", headers }
  let isAskedFor = headers.expect?.toLowerCase() !== "100-continue"
  for (const name of Object.keys(headers)) if (name.startsWith(":")) delete headers[name]
  headers.host = head.host
  let trailers: IncomingHttpHeaders = {}
  const hasBody = (flags & NGHTTP2_FLAG_END_STREAM) === 0
  stream.on("trailers", (late: IncomingHttpHeaders) => (trailers = late)).on("error", () => {})
  // A stream whose end nobody reads doesn't close.
  if (!hasBody) stream.resume()
  return {
    requestId,
    head,
    fields,
    tls: () => tlsOf(stream.session?.socket as TLSSocket | undefined),
    remoteAddress: stream.session?.socket.remoteAddress,
    remotePort: stream.session?.socket.remotePort,
    body: stream,
    hasBody,
    trailers: () => trailers,
    isOver() {
      return stream.closed || stream.destroyed
    },
    onOver: (listener) => void stream.once("close", listener),
    protocol: "h2",
    status() {
      return stream.headersSent ? Number(stream.sentHeaders[":status"]) : undefined
    },
    isAnsweredWhole() {
      // A client may take its request back with no error (undici does): Node then ends what we would have written.
      return stream.writableFinished && !stream.aborted && stream.rstCode === NGHTTP2_NO_ERROR
    },
    askForBody() {
      if (!isAskedFor) stream.additionalHeaders({ ":status": 100 })
      isAskedFor = true
    },
    inform: (status, informed) => {
      if (!stream.headersSent) stream.additionalHeaders({ ...(informed as OutgoingHttpHeaders), ":status": status })
    },
    answer: (answer) => relay(answer, stream),
    answerInstead({ status, headers: own, body }) {
      if (stream.destroyed || stream.closed) return
      if (stream.headersSent) {
        stream.close(NGHTTP2_INTERNAL_ERROR)
        return
      }
      stream.respond({ ...own, ":status": status })
      stream.end(body)
    },
    breakOff: () => void stream.destroy(),
    discardBody() {
      // The stream's end alone: the connection, and its other streams, go on. RFC 9113, 8.1.
      if (stream.readableEnded) return
      if (stream.writableEnded) stream.close(NGHTTP2_NO_ERROR)
      else stream.once("finish", () => stream.close(NGHTTP2_NO_ERROR))
    },
  }
}

const relay = (answer: GuestAnswer, stream: ServerHttp2Stream): void => {
  const { status, headers, body } = answer
  stream.respond(
    { ...(headers as OutgoingHttpHeaders), ":status": status },
    { endStream: answer.isBodiless, waitForTrailers: !answer.isBodiless && !Buffer.isBuffer(body) },
  )
  if (Buffer.isBuffer(body)) {
    if (!answer.isBodiless) stream.end(body)
    return
  }
  if (answer.isBodiless) {
    body.resume()
    return
  }
  stream.once("wantTrailers", () => stream.sendTrailers(prepareTrailers(answer.trailers())))
  body
    .on("error", () => {})
    .once("close", () => {
      if (!body.readableEnded) stream.close(resetCodeOf(body))
    })
  stream.once("close", () => body.destroy())
  body.pipe(stream)
}

/** A guest's own words for breaking off: gRPC's clients tell a deadline from a crash by it. */
const resetCodeOf = (body: Readable): number => {
  const { rstCode } = body as { rstCode?: number }
  return rstCode === undefined || rstCode === NGHTTP2_NO_ERROR ? NGHTTP2_INTERNAL_ERROR : rstCode
}
