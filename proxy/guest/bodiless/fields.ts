/** Fields of a head or of trailers, read as strictly as RFC 9112 allows: two readers could take anything laxer for different messages. */
import type { IncomingHttpHeaders } from "node:http"

/** What an application said is no answer of HTTP/1.1. */
export class AnswerError extends Error {
  override readonly name = "AnswerError"
}

/** Lines end with CRLF and nothing else; none has another control character than a tab. */
// oxlint-disable-next-line no-control-regex -- these are what is looked for
const CONTROL = /[\0-\x08\x0a-\x1f\x7f]/

const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

/** Of a header that is not a list, the first counts, as in Node's own client. */
const SINGLE = new Set(["age", "content-type", "etag", "expires", "last-modified", "location", "retry-after", "server"])

/** Headers that frame a message may come only once. */
const ONCE = new Set(["content-length", "transfer-encoding"])

/** Reads lines as fields with lower-case names. Throws an {@link AnswerError}. */
export const parseFields = (lines: readonly string[]): IncomingHttpHeaders => {
  const fields: Record<string, string | string[]> = {}
  for (const line of lines) {
    const colon = line.indexOf(":")
    const name = line.slice(0, Math.max(0, colon)).toLowerCase()
    // A line that begins with a space, and so would go on with the one before, has no name either.
    if (!NAME.test(name) || CONTROL.test(line)) throw new AnswerError("The application's answer has a bad header line")
    const value = line.slice(colon + 1).trim()
    const known = fields[name]
    if (name === "set-cookie") fields[name] = Array.isArray(known) ? [...known, value] : [value]
    else if (typeof known !== "string") fields[name] = value
    else if (ONCE.has(name)) throw new AnswerError(`The application's answer says ${name} twice`)
    else if (!SINGLE.has(name)) fields[name] = `${known}, ${value}`
  }
  return fields
}
