/** The way back: a function's response, whole or streamed, becomes the client's answer. */
import type { Exchange, GuestAnswer } from "../exchange.ts"
import type { Holding } from "../limits/held-bytes.ts"
import type { FunctionUrlTarget, UrlInvoked } from "../route.ts"
import { toBufferedAnswer, withBody, type AnswerRules } from "./answer.ts"
import { MAX_PAYLOAD_BYTES, refusalToHold } from "./body.ts"
import { applyCors, isConfigured } from "./cors.ts"
import { AHEAD_BYTES, offer, piecesOf, type Offering } from "./offer.ts"
import { badGateway } from "./refusals.ts"
import { hasPrelude, splitPrelude, toStreamedAnswer } from "./streamed.ts"

export interface Responding {
  readonly rules: AnswerRules
  readonly holding: Holding
  readonly offering: Offering
}

/** Begins the answer; throws a refusal for a response that is none, with nothing said to the client. */
export const respond = async (
  exchange: Exchange,
  { isStreamed, cors }: FunctionUrlTarget,
  invoked: UrlInvoked,
  { rules, holding, offering }: Responding,
): Promise<void> => {
  const answer = isStreamed
    ? await toStreamedAnswer(invoked, rules, offering)
    : await takeAnswer(invoked, rules, holding)
  if (isConfigured(cors)) applyCors(answer.headers, cors, exchange.head.headers.origin)
  if (!exchange.isOver()) send(exchange, answer, offering)
}

/** Takes a response whole: only then is it known how it went. */
const takeAnswer = async (
  { contentType, body, end }: UrlInvoked,
  rules: AnswerRules,
  holding: Holding,
): Promise<GuestAnswer> => {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of body as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > MAX_PAYLOAD_BYTES) throw badGateway()
    const refusal = refusalToHold(holding, chunk.length)
    if (refusal !== undefined) throw refusal
    chunks.push(chunk)
  }
  if ((await end) !== undefined) throw badGateway()
  const payload = Buffer.concat(chunks)
  const answer = hasPrelude(contentType) ? splitPrelude(payload, rules) : toBufferedAnswer(payload, rules)
  return withBody(answer.head, answer.body, rules.method)
}

/** Answers, and cuts off whoever doesn't read to the end. */
const send = (exchange: Exchange, answer: GuestAnswer, offering: Offering): void => {
  const { body } = answer
  const isSmall = Buffer.isBuffer(body) && body.length <= AHEAD_BYTES
  if (isSmall) offering.onBytes(body.length)
  const offered = Buffer.isBuffer(body) && !isSmall ? offer(piecesOf(body), offering) : body
  let unread: NodeJS.Timeout | undefined
  const awaitReading = () => (unread = setTimeout(offering.onStalled, offering.idleMs))
  exchange.onOver(() => clearTimeout(unread))
  exchange.answer({ ...answer, body: offered })
  if (Buffer.isBuffer(offered)) awaitReading()
  else offered.once("end", awaitReading)
}
