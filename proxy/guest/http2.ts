/** The way of a request to an application that speaks HTTP/2, in clear (h2c) or in TLS: gRPC's, above all. */
import { constants, type IncomingHttpHeaders, type OutgoingHttpHeaders } from "node:http2"
import type { Exchange } from "../exchange.ts"
import { prepareAnswer, prepareTrailers } from "../headers.ts"
import { endsWithHead, inform, isEventStream } from "./answer.ts"
import { AttemptError, type Place } from "./place.ts"
import type { Sessions } from "./sessions.ts"

const { NGHTTP2_CANCEL, NGHTTP2_FLAG_END_STREAM } = constants
/** Makes one attempt; resolves when the exchange is over, rejects with an {@link AttemptError} while nothing was answered. */
export const sendHttp2 = (
  exchange: Exchange,
  { address, port, connectTimeoutMs, head, requestId, meter, onEndless }: Place,
  sessions: Sessions,
  isTls: boolean,
): Promise<void> =>
  new Promise<void>((resolve, reject) => {
    const { body, hasBody } = exchange
    const { host: _, ...headers } = head.headers
    const stream = sessions.request(
      { address, port, connectTimeoutMs, isTls, onConnect: meter.connected },
      {
        ...(headers as OutgoingHttpHeaders),
        ":method": head.method,
        ":path": head.path,
        ":scheme": isTls ? "https" : "http",
        ":authority": head.host,
      },
      { endStream: !hasBody, waitForTrailers: hasBody },
    )
    let trailers: IncomingHttpHeaders = {}
    let informed = 0
    let failure: Error | undefined
    stream
      .on("headers", ({ ":status": status = 0, ...early }) => {
        if (!inform(exchange, ++informed, status, early)) stream.close(NGHTTP2_CANCEL)
      })
      .once("response", (answered, flags) => {
        const { ":status": status = 0, ...ofAnswer } = answered
        if (exchange.isOver()) return
        const answerHeaders = prepareAnswer(ofAnswer, requestId)
        stream.on("data", (chunk: Buffer) => meter.carried("out", chunk.length))
        try {
          exchange.answer({
            status,
            statusMessage: "",
            headers: answerHeaders,
            body: stream,
            // They are parts of what the connection read.
            isOwned: false,
            isBodiless: (flags & NGHTTP2_FLAG_END_STREAM) !== 0 || endsWithHead(status, head.method),
            trailers: () => trailers,
          })
          if (isEventStream(answerHeaders)) onEndless()
        } catch (error) {
          failure = error as Error
          stream.close(NGHTTP2_CANCEL)
        }
      })
      .on("trailers", (late: IncomingHttpHeaders) => (trailers = late))
      .once("wantTrailers", () => stream.sendTrailers(prepareTrailers(exchange.trailers())))
      .on("error", (error) => (failure ??= error))
      .once("close", () => {
        if (exchange.status() === undefined && !exchange.isOver())
          reject(new AttemptError(failure ?? new Error(`The application reset the stream (${stream.rstCode})`), false))
        // The rest of a body that the application doesn't want goes nowhere.
        if (hasBody && !body.readableEnded) exchange.discardBody()
        resolve()
      })
    exchange.onOver(() => {
      if (!exchange.isAnsweredWhole()) stream.close(NGHTTP2_CANCEL)
    })
    if (hasBody) body.on("data", (chunk: Buffer) => meter.carried("in", chunk.length)).pipe(stream)
  })
