import type { IncomingHttpHeaders, IncomingMessage } from "node:http"
import type { Exchange, GuestAnswer } from "../exchange.ts"
import { prepareAnswer, prepareTrailers } from "../headers.ts"

/** Answers before the answer that are passed on; an application may send them without end. */
const MAX_INFORMED = 16
/** And those that are taken at all. */
const MAX_TAKEN = 1000

/** The head of an answer in HTTP/1.1, whoever read it. */
export interface RawAnswer {
  readonly status: number
  readonly statusMessage: string
  readonly headers: IncomingHttpHeaders
}

/** An answer in HTTP/1.1, prepared for the client. Throws when it is no answer that HTTP knows. */
export const toGuestAnswer = (
  { status, statusMessage, headers }: RawAnswer,
  method: string,
  requestId: string,
  body: GuestAnswer["body"],
  trailers: () => IncomingHttpHeaders,
): GuestAnswer => {
  // Clients' parsers take any three digits and any bytes for a status; Node's server throws at them.
  if (status < 200) throw new Error(`The application answered with status ${status}`)
  const coding = headers["transfer-encoding"]
  if (coding !== undefined && coding.toLowerCase() !== "chunked")
    throw new Error(`The application answered in the transfer coding ${coding}`)
  const isBodiless = endsWithHead(status, method) || headers["content-length"] === "0"
  const prepared = prepareAnswer(headers, requestId)
  return { status, statusMessage, headers: prepared, body, isOwned: true, isBodiless, trailers }
}

/** The same of an answer that Node's client has read. */
export const toAnswerOfNode = (answer: IncomingMessage, method: string, requestId: string): GuestAnswer => {
  const { statusCode: status = 0, statusMessage = "", headers } = answer
  return toGuestAnswer({ status, statusMessage, headers }, method, requestId, answer, () => answer.trailers)
}

/** An answer that is open until somebody closes it: its client, an EventSource, comes again by itself. */
export const isEventStream = (headers: IncomingHttpHeaders) =>
  /^text\/event-stream(?:$|[ ;])/i.test(headers["content-type"] ?? "")

/** Those that end with their head, whatever it says: RFC 9110, 6.4.1. */
export const endsWithHead = (status: number, method: string) => method === "HEAD" || status === 204 || status === 304

/** Passes on the `count`th answer before the answer (102, 103); false when the application sends them without end. */
export const inform = (exchange: Exchange, count: number, status: number, headers: IncomingHttpHeaders): boolean => {
  if (count <= MAX_INFORMED && status > 101 && exchange.status() === undefined && !exchange.isOver())
    exchange.inform(status, prepareTrailers(headers))
  return count <= MAX_TAKEN
}
