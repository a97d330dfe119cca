import { constants, type IncomingHttpHeaders, type OutgoingHttpHeaders, type ServerHttp2Stream } from "node:http2"
import type { Readable } from "node:stream"
import type { Exchange, GuestAnswer } from "../exchange.ts"
import { prepareTrailers } from "../headers.ts"

const { NGHTTP2_FLAG_END_STREAM, NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR } = constants

/** The client's end of a connection, the same for all its streams: a session's own socket is a proxy that looks it up anew each time. */
export type Http2Client = Pick<Exchange, "remoteAddress" | "remotePort" | "tls">

/** A stream as Node hands it over, with what it doesn't keep of it. */
export interface BegunStream {
  readonly stream: ServerHttp2Stream
  readonly headers: IncomingHttpHeaders
  /** Names and values in turn, as sent. */
  readonly fields: readonly string[]
  readonly flags: number
  readonly client: Http2Client
  readonly requestId: string
}

/** An exchange on one stream of HTTP/2; it takes the pseudo-headers out of the headers, which change with the exchange's. */
export const createHttp2Exchange = ({ stream, headers, fields, flags, client, requestId }: BegunStream): Exchange => {
  const { ":method": method = "GET", ":path": path = "", ":authority": authority, host } = headers
  const head = { method, path, host: authority ?? host ?? "", headers }
  let isAskedFor = headers.expect?.toLowerCase() !== "100-continue"
  for (const name in headers) if (name.startsWith(":")) delete headers[name]
  headers.host = head.host
  let trailers: IncomingHttpHeaders = {}
  const hasBody = (flags & NGHTTP2_FLAG_END_STREAM) === 0
  // One for all: Node tells itself of each that a stream is given.
  const listeners: (() => void)[] = []
  stream.on("error", ignore).once("close", () => {
    for (const listener of listeners) listener()
  })
  if (hasBody) stream.on("trailers", (late: IncomingHttpHeaders) => (trailers = late))
  // A stream whose end nobody reads doesn't close.
  else stream.resume()
  return {
    ...client,
    requestId,
    head,
    fields,
    body: stream,
    hasBody,
    trailers: () => trailers,
    isOver() {
      return stream.closed || stream.destroyed
    },
    onOver: (listener) => void listeners.push(listener),
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
    // With an error: else the client would be told that all is well.
    breakOff: () => void stream.destroy(new Error("Broken off")),
    discardBody() {
      // The stream's end alone: the connection, and its other streams, go on. RFC 9113, 8.1.
      if (stream.readableEnded) return
      if (stream.writableEnded) stream.close(NGHTTP2_NO_ERROR)
      else stream.once("finish", () => stream.close(NGHTTP2_NO_ERROR))
    },
  }
}

const ignore = () => {}

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
