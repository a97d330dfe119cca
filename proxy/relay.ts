import type { IncomingMessage, ServerResponse } from "node:http"
import { pipeline } from "node:stream"
import { prepareAnswer } from "./headers.ts"

const PRINTABLE = /^[\t\x20-\x7e\x80-\xff]*$/

/**
 * Passes a guest's answer on, as it comes; when either side breaks off, the other is broken off too, so that half an answer is never
 * taken for a whole one. Throws, with nothing said to the client, when it is no answer that HTTP knows.
 */
export const relayAnswer = (answer: IncomingMessage, response: ServerResponse, requestId: string): void => {
  const { statusCode = 0, statusMessage = "", headers } = answer
  // Node's client takes any three digits and any bytes for a status; its server throws at them.
  if (statusCode < 200) throw new Error(`The application answered with status ${statusCode}`)
  const coding = headers["transfer-encoding"]
  if (coding !== undefined && coding.toLowerCase() !== "chunked")
    throw new Error(`The application answered in the transfer coding ${coding}`)
  prepareAnswer(headers, requestId)
  if (PRINTABLE.test(statusMessage)) response.writeHead(statusCode, statusMessage, headers)
  else response.writeHead(statusCode, headers)
  pipeline(answer, response, () => {})
  // The head goes with the body's first bytes when they are there already, else alone: a stream of events may be silent for long.
  const flush = setImmediate(() => {
    if (!response.writableEnded && !response.destroyed) response.flushHeaders()
  })
  answer.once("data", () => clearImmediate(flush))
}
