/**
 * The way of a request without a body, which most are, to an application that speaks HTTP/1.1: on a connection of our own. Node's client
 * makes several objects, a stream and their listeners for each one; here a request is one write, and a short answer one read.
 */
import { Readable } from "node:stream"
import type { IncomingHttpHeaders } from "node:http"
import type { Socket } from "node:net"
import type { Exchange } from "../../exchange.ts"
import { inform, isEventStream, toGuestAnswer } from "../answer.ts"
import { AttemptError, type Place } from "../place.ts"
import type { AnswerHead } from "./answer-head.ts"
import type { Connections } from "./connections.ts"
import { toRequestText } from "./request-head.ts"

export interface BodilessOptions {
  readonly connections: Connections
  readonly isTls: boolean
  /** Not on a connection that has rested for longer: the application may be closing it just now. An upgrade takes none. */
  readonly maxRestMs: number
  /** Whether an answer of this status may be passed on; what it throws ends the attempt. */
  readonly accept?: ((status: number) => Promise<void> | undefined) | undefined
  /** Asks for a WebSocket; is given the application's side of it, paused, when it agrees, and then the attempt is over. */
  readonly onUpgrade?: ((headers: IncomingHttpHeaders, guest: Socket) => void) | undefined
}

/** Makes one attempt; resolves when the exchange is over, rejects with an {@link AttemptError} while nothing was answered. */
export const sendBodiless = (
  exchange: Exchange,
  { address, port, connectTimeoutMs, head, requestId, meter, onEndless }: Place,
  { connections, isTls, maxRestMs, accept, onUpgrade }: BodilessOptions,
): Promise<void> =>
  new Promise<void>((resolve, reject) => {
    const text = toRequestText(head, onUpgrade && "websocket")
    const isForUpgrade = onUpgrade !== undefined
    const connection = connections.take(
      { address, port, connectTimeoutMs, isTls, isForUpgrade, onConnect: meter.connected },
      maxRestMs,
    )
    let body: Readable | undefined
    let trailers: IncomingHttpHeaders = {}
    let informed = 0

    const fail = (cause: unknown) => {
      sent.cut()
      // Once there is an answer, the end of its body says how it went.
      if (exchange.status() === undefined && !exchange.isOver()) reject(new AttemptError(cause, connection.isReused))
    }
    const pass = (answer: AnswerHead, whole: Buffer | undefined) => {
      if (exchange.isOver()) return
      exchange.answer(toGuestAnswer(answer, head.method, requestId, body ?? whole ?? Buffer.alloc(0), () => trailers))
      if (isEventStream(answer.headers)) onEndless()
    }

    exchange.onOver(() => {
      if (!exchange.isAnsweredWhole()) sent.cut()
      resolve()
    })
    const sent = connection.send(text, head.method, {
      onInformation(status, headers) {
        if (!inform(exchange, ++informed, status, headers))
          throw new Error("The application sends answers before its answer without end")
      },
      onHead(answer, whole) {
        if (whole === undefined) body = createBody(() => sent.resume())
        const accepted = accept?.(answer.status)
        if (accepted === undefined) pass(answer, whole)
        else accepted.then(() => pass(answer, whole)).catch(fail)
      },
      onData(bytes) {
        if (body?.push(bytes) === false) sent.pause()
      },
      onEnd(late) {
        trailers = late
        body?.push(null)
        // Whether an application that declined one reads another request behind it, nobody can tell.
        if (isForUpgrade) connection.destroy()
      },
      ...(onUpgrade && {
        onUpgrade({ headers }: AnswerHead, guest: Socket) {
          onUpgrade(headers, guest)
          resolve()
        },
      }),
      onFailure(cause) {
        body?.destroy(cause)
        fail(cause)
      },
      onBytes(written, read) {
        meter.carried("in", written)
        meter.carried("out", read)
      },
    })
  })

/** A body that comes as fast as it is taken; who passes it on looks at how it ends. */
const createBody = (resume: () => void): Readable => new Readable({ read: resume }).on("error", () => {})
