/** What a function's response is to HTTP: an answer that it describes, or the answer itself. */
import { STATUS_CODES, type IncomingHttpHeaders } from "node:http"
import type { GuestAnswer } from "../exchange.ts"
import { endsWithHead } from "../guest/answer.ts"
import { prepareAnswer } from "../headers.ts"
import { badGateway } from "./refusals.ts"

/** Status and headers, as a function gave them; nothing of it is to be believed. */
export interface AnswerHead {
  readonly status: number
  readonly headers: IncomingHttpHeaders
}

/** What an answer is held to. */
export interface AnswerRules {
  readonly method: string
  readonly requestId: string
  readonly traceId: string
  readonly maxHeaderBytes: number
}

const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
const VALUE = /^[\t\x20-\x7e\x80-\u{10ffff}]*$/u

/** A whole response of a function that doesn't stream. Throws a refusal for one that describes no answer of HTTP's. */
export const toBufferedAnswer = (payload: Buffer, rules: AnswerRules): { head: AnswerHead; body: Buffer } => {
  const response = parse(payload)
  if (response === undefined) return { head: toHead({ statusCode: 200 }, rules), body: payload }
  if (!isObject(response) || !Object.hasOwn(response, "statusCode"))
    return {
      head: toHead({ statusCode: 200 }, rules),
      body: typeof response === "string" ? Buffer.from(response) : payload,
    }
  const { body = "", isBase64Encoded } = response
  const text = body ?? ""
  if (typeof text !== "string") throw badGateway()
  return { head: toHead(response, rules), body: Buffer.from(text, isBase64Encoded === true ? "base64" : "utf8") }
}

/** The head that a function describes: `{statusCode, headers, cookies}`. Throws a refusal for one that is none of HTTP's. */
export const toHead = (described: Readonly<Record<string, unknown>>, rules: AnswerRules): AnswerHead => {
  const { requestId, traceId, maxHeaderBytes } = rules
  const status = toStatus(described["statusCode"])
  const given = described["headers"] ?? {}
  if (!isObject(given)) throw badGateway()
  const headers: IncomingHttpHeaders = {}
  let bytes = 0
  const count = (name: string, value: string) => {
    bytes += name.length + value.length + 4
    if (bytes > maxHeaderBytes) throw badGateway()
    return value
  }
  for (const [name, value] of Object.entries(given)) {
    if (value === null) continue
    if (!NAME.test(name)) throw badGateway()
    const lower = name.toLowerCase()
    const text = count(lower, toValue(value))
    if (lower === "set-cookie") headers["set-cookie"] = [...(headers["set-cookie"] ?? []), text]
    else headers[lower] = text
  }
  const cookies = described["cookies"] ?? []
  if (!Array.isArray(cookies)) throw badGateway()
  for (const cookie of cookies as unknown[])
    headers["set-cookie"] = [...(headers["set-cookie"] ?? []), count("set-cookie", toValue(cookie))]
  const prepared = prepareAnswer(headers, requestId)
  // How the body is framed is said anew.
  delete prepared["content-length"]
  prepared["content-type"] ??= "application/json"
  prepared["x-amzn-trace-id"] = traceId
  return { status, headers: prepared }
}

/** The answer for the client, with a whole body; it says how long that is where HTTP lets it. */
export const withBody = ({ status, headers }: AnswerHead, body: Buffer, method: string): GuestAnswer => {
  const isBodiless = endsWithHead(status, method)
  if (status !== 204 && status !== 304) headers["content-length"] = String(body.length)
  return {
    status,
    statusMessage: STATUS_CODES[status] ?? "",
    headers,
    body: isBodiless ? Buffer.alloc(0) : body,
    isOwned: false,
    isBodiless: isBodiless || body.length === 0,
    trailers: () => ({}),
  }
}

const parse = (payload: Buffer): unknown => {
  try {
    return JSON.parse(payload.toString("utf8")) as unknown
  } catch {
    return undefined
  }
}

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** Interim statuses are no answer, and a 101 would hand over the connection. */
const toStatus = (value: unknown): number => {
  const status = typeof value === "string" && /^\d{3}$/.test(value) ? Number(value) : value
  if (typeof status !== "number" || !Number.isInteger(status) || status < 200 || status > 599) throw badGateway()
  return status
}

/** A value as HTTP carries it: beyond ASCII the bytes of UTF-8, each as one character. */
const toValue = (value: unknown): string => {
  if (typeof value !== "string" && typeof value !== "number" && typeof value !== "boolean") throw badGateway()
  const text = String(value)
  if (!VALUE.test(text)) throw badGateway()
  return Buffer.from(text.trim(), "utf8").toString("latin1")
}
