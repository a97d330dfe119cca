import type { IncomingHttpHeaders } from "node:http"
import { endsWithHead } from "../answer.ts"
import { AnswerError, parseFields } from "./fields.ts"

export interface AnswerHead {
  readonly status: number
  readonly statusMessage: string
  readonly headers: IncomingHttpHeaders
  /** Where its body ends: after so many bytes, as chunks say, or with the connection. */
  readonly framing: number | "chunked" | "close"
  /** The application takes another request on the connection, */
  readonly isPersistent: boolean
  /** and waits for it so long at most, if it says so. */
  readonly keepAliveMs: number | undefined
}

/** The reason may be anything in a line: nobody acts on it. */
const STATUS_LINE = /^HTTP\/1\.([01]) (\d{3})(?: ([^\r\n]*))?$/
const LENGTH = /^\d{1,15}$/
const KEEP_ALIVE_SECONDS = /(?:^|,)\s*timeout\s*=\s*(\d{1,6})/i

/** Reads a head, without the empty line that ends it, of an answer to a request of this method. Throws an {@link AnswerError}. */
export const parseAnswerHead = (text: string, method: string): AnswerHead => {
  const [first = "", ...lines] = text.split("\r\n")
  const [, minor, digits, statusMessage = ""] = STATUS_LINE.exec(first) ?? []
  if (digits === undefined) throw new AnswerError("The application's answer has no status line")
  const status = Number(digits)
  const headers = parseFields(lines)
  const connection = (headers.connection ?? "").toLowerCase().split(/[\s,]+/)
  const seconds = KEEP_ALIVE_SECONDS.exec(String(headers["keep-alive"] ?? ""))?.[1]
  return {
    status,
    statusMessage,
    headers,
    framing: status < 200 || endsWithHead(status, method) ? 0 : framingOf(headers, minor === "0"),
    isPersistent: minor === "0" ? connection.includes("keep-alive") : !connection.includes("close"),
    keepAliveMs: seconds === undefined ? undefined : Number(seconds) * 1000,
  }
}

const framingOf = (headers: IncomingHttpHeaders, isOld: boolean): AnswerHead["framing"] => {
  const { "transfer-encoding": coding, "content-length": length } = headers
  if (coding !== undefined) {
    if (isOld || length !== undefined || coding.toLowerCase() !== "chunked")
      throw new AnswerError(`The application answered in the transfer coding ${coding}`)
    return "chunked"
  }
  if (length === undefined) return "close"
  if (!LENGTH.test(length)) throw new AnswerError("The application's answer has no number for its length")
  return Number(length)
}
