/** A response that a function streams: raw bytes, or behind a prelude that says status, headers and cookies. */
import { STATUS_CODES } from "node:http"
import type { GuestAnswer } from "../exchange.ts"
import { endsWithHead } from "../guest/answer.ts"
import type { UrlInvoked } from "../route.ts"
import { isObject, toHead, type AnswerHead, type AnswerRules } from "./answer.ts"
import { offer, type Offering } from "./offer.ts"
import { badGateway } from "./refusals.ts"

const WITH_PRELUDE = "application/vnd.awslambda.http-integration-response"
/** Between the prelude, JSON, and the body. */
const DELIMITER = Buffer.alloc(8)
/** Whether a response begins with a prelude. */
export const hasPrelude = (contentType: string): boolean =>
  contentType.split(";")[0]?.trim().toLowerCase() === WITH_PRELUDE

/** Takes a whole response with a prelude apart. Throws a refusal. */
export const splitPrelude = (payload: Buffer, rules: AnswerRules): { head: AnswerHead; body: Buffer } => {
  const end = payload.indexOf(DELIMITER)
  if (end === -1) throw badGateway()
  return { head: toPreludeHead(payload.subarray(0, end), rules), body: payload.subarray(end + DELIMITER.length) }
}

/**
 * The answer that a function streams, as soon as its head is known: what fails before is refused, what fails behind it breaks the answer
 * off. Throws a refusal.
 */
export const toStreamedAnswer = async (
  { contentType, body, end }: UrlInvoked,
  rules: AnswerRules,
  offering: Offering,
): Promise<GuestAnswer> => {
  const chunks: AsyncIterator<Buffer> = body[Symbol.asyncIterator]()
  const isDescribed = hasPrelude(contentType)
  const first = await takeFirst(chunks, isDescribed, rules.maxHeaderBytes)
  // Nothing came of it: so far it can be said how it went.
  if (first.isOver && (await end) !== undefined) throw badGateway()
  const head = isDescribed
    ? toPreludeHead(first.prelude, rules)
    : toHead({ statusCode: 200, headers: { "content-type": contentType || "application/octet-stream" } }, rules)
  const { status, headers } = head
  const isBodiless = endsWithHead(status, rules.method)
  if (isBodiless) body.destroy()
  return {
    status,
    statusMessage: STATUS_CODES[status] ?? "",
    headers,
    body: isBodiless ? Buffer.alloc(0) : offer(restOf(first.rest, chunks, end), offering),
    isOwned: false,
    isBodiless,
    trailers: () => ({}),
  }
}

interface First {
  readonly prelude: Buffer
  readonly rest: Buffer
  /** That was all of it. */
  readonly isOver: boolean
}

/** Takes a response's first bytes; all of its prelude, where it has one. */
const takeFirst = async (chunks: AsyncIterator<Buffer>, isDescribed: boolean, maxBytes: number): Promise<First> => {
  let taken: Buffer = Buffer.alloc(0)
  for (;;) {
    const next = await chunks.next()
    if (next.done === true) return { prelude: taken, rest: Buffer.alloc(0), isOver: true }
    if (!isDescribed) {
      if (next.value.length > 0) return { prelude: taken, rest: next.value, isOver: false }
      continue
    }
    taken = Buffer.concat([taken, next.value])
    const end = taken.indexOf(DELIMITER)
    if (end !== -1)
      return { prelude: taken.subarray(0, end), rest: taken.subarray(end + DELIMITER.length), isOver: false }
    if (taken.length > maxBytes) throw badGateway()
  }
}

const toPreludeHead = (prelude: Buffer, rules: AnswerRules): AnswerHead => {
  let described: unknown
  try {
    described = JSON.parse(prelude.toString("utf8"))
  } catch {
    throw badGateway()
  }
  if (!isObject(described)) throw badGateway()
  return toHead({ ...described, statusCode: described["statusCode"] ?? 200 }, rules)
}

/** The rest, which ends well only when the function has. */
async function* restOf(first: Buffer, chunks: AsyncIterator<Buffer>, end: UrlInvoked["end"]): AsyncGenerator<Buffer> {
  if (first.length > 0) yield first
  for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) yield next.value
  if ((await end) !== undefined) throw new Error("The function failed behind the beginning of its answer")
}
