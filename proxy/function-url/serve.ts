/** The way of a request to a function URL: it is let in, taken whole, made an event, given to the function, and answered. */
import { createHash } from "node:crypto"
import { ServiceError } from "../../src/errors.ts"
import type { Log } from "../../src/log.ts"
import { parseHost } from "../admission/host.ts"
import { EdgeError, toAnswer as toEdgeAnswer, type EdgeAnswer } from "../errors.ts"
import { goneSignal, type Exchange } from "../exchange.ts"
import { createHeldBytes } from "../limits/held-bytes.ts"
import type { Limits } from "../limits/limits.ts"
import { paceExchange } from "../limits/paced-exchange.ts"
import type { EdgeMetrics } from "../metrics.ts"
import type { FunctionUrlRouter, FunctionUrlTarget, Signatures, UrlInvoked } from "../route.ts"
import { MAX_BODY_BYTES, MAX_PAYLOAD_BYTES, takeBody } from "./body.ts"
import { answerPreflight, corsHeaders, isConfigured, isPreflight } from "./cors.ts"
import { toEvent, traceOf } from "./event.ts"
import { forbidden, ofService, throttledByEdge, toAnswer, tooLarge, unknownUrl, UrlRefusal } from "./refusals.ts"
import { respond } from "./respond.ts"

/** What function URLs lead to, and who may ask them. */
export interface FunctionUrls {
  readonly router: FunctionUrlRouter
  readonly signatures: Signatures
}

export interface UrlServing extends FunctionUrls {
  readonly limits: Limits
  readonly metrics: EdgeMetrics
  readonly log: Log
  readonly maxHeaderKiB: number
  readonly idleTimeoutSeconds: number
  /** Bodies and answers of all URLs together that are held in memory. */
  readonly maxUrlMiB: number
  /** Answers somebody who was not let in. */
  readonly answerInstead: (exchange: Exchange, answer: EdgeAnswer) => void
}

/** However steadily it comes. */
const MAX_BODY_MS = 300_000

/** Makes what serves requests to function URLs: `undefined` for a host that is none's. What it returns never rejects. */
export const createServeUrl = (serving: UrlServing) => {
  const { router, signatures, limits, metrics, log, maxHeaderKiB, idleTimeoutSeconds, answerInstead } = serving
  const held = createHeldBytes(serving.maxUrlMiB * 1024 ** 2)
  const idleMs = idleTimeoutSeconds * 1000
  const maxHeaderBytes = maxHeaderKiB * 1024

  /** Counts a request in; a URL's own limits are told to its callers as its function's are. */
  const enter = (exchange: Exchange, { id }: FunctionUrlTarget) => {
    try {
      return limits.enter(exchange, id, undefined)
    } catch (error) {
      if (!(error instanceof EdgeError)) throw error
      if (error.code === "OVERLOADED") throw new EdgeError("URLS_OVERLOADED")
      throw throttledByEdge(error.code.startsWith("TOO_MANY_CONN") ? "TOO_MANY_CONNECTIONS" : "TOO_MANY_REQUESTS")
    }
  }

  const pass = async (exchange: Exchange, target: FunctionUrlTarget) => {
    const { head, requestId } = exchange
    const confirm =
      target.authType === "AWS_IAM" ? await signatures.open(head.method, head.path, head.headers) : undefined
    if (target.authType === "AWS_IAM" ? confirm === undefined : !target.allows(undefined)) throw forbidden()
    if (Number(head.headers["content-length"] ?? 0) > MAX_BODY_BYTES) throw tooLarge(MAX_BODY_BYTES)
    if (exchange.isOver()) return
    const leave = enter(exchange, target)
    const holding = held.open(target.id)
    let invoked: UrlInvoked | undefined
    try {
      const meter = metrics.beginUrl(target.isStreamed ? "streamed" : "buffered", exchange.protocol)
      exchange.onOver(() => {
        meter.end(exchange.status())
        // The invocation goes on; what it answers goes nowhere.
        invoked?.body.destroy()
      })
      exchange.askForBody()
      const body = exchange.hasBody
        ? await takeBody(exchange.body, holding, { idleMs, maxMs: MAX_BODY_MS })
        : Buffer.alloc(0)
      const signer = confirm?.(createHash("sha256").update(body).digest("hex"))
      if (signer !== undefined && !target.allows(signer)) throw forbidden()
      if (exchange.isOver()) return
      const at = new Date()
      const traceId = traceOf(head.headers, at)
      const payload = toEvent({ exchange, urlId: target.id, signer, traceId, body, at })
      if (payload.length > MAX_PAYLOAD_BYTES) throw tooLarge(MAX_BODY_BYTES)
      meter.carried("in", body.length)
      invoked = await target.invoke({ requestId, traceId, payload }, goneSignal(exchange))
      holding.release()
      if (exchange.isOver()) return
      const rules = { method: head.method, requestId, traceId, maxHeaderBytes }
      const offering = {
        idleMs,
        onStalled: () => exchange.breakOff(),
        onBytes: (bytes: number) => meter.carried("out", bytes),
      }
      await respond(exchange, target, invoked, { rules, holding, offering })
      await over(exchange)
    } finally {
      if (exchange.status() === undefined || exchange.isOver()) invoked?.body.destroy()
      holding.release()
      leave()
    }
  }

  const toRefusal = (error: unknown, { requestId, head }: Exchange): { name: string; answer: EdgeAnswer } => {
    const refusal = error instanceof ServiceError ? ofService(error) : error
    if (refusal instanceof UrlRefusal)
      return { name: refusal.errorType ?? "InternalServerError", answer: toAnswer(refusal, requestId) }
    if (!(refusal instanceof EdgeError)) log.error({ requestId, err: error }, "A function URL failed")
    const answer = toEdgeAnswer(
      refusal instanceof EdgeError ? refusal.code : "INTERNAL",
      requestId,
      head.headers.accept,
    )
    return { name: answer.name, answer }
  }

  const refuse = (exchange: Exchange, error: unknown, cors: FunctionUrlTarget["cors"]) => {
    if (exchange.isOver()) return
    exchange.discardBody()
    const { name, answer } = toRefusal(error, exchange)
    metrics.refused(name)
    const shared = isConfigured(cors) ? corsHeaders(cors, exchange.head.headers.origin) : {}
    answerInstead(exchange, { ...answer, headers: { ...answer.headers, ...shared } })
  }

  const serve = async (exchange: Exchange, host: string) => {
    let cors: FunctionUrlTarget["cors"] = null
    try {
      const target = await router.find(host)
      if (target === undefined) throw unknownUrl()
      cors = target.cors
      if (exchange.protocol === "websocket") throw new EdgeError("NO_WEBSOCKETS")
      if (isConfigured(cors) && isPreflight(exchange.head)) {
        exchange.discardBody()
        answerInstead(exchange, answerPreflight(cors, exchange.head, exchange.requestId))
        return
      }
      const paces = limits.pacesOf(target.id)
      await pass(paces === undefined ? exchange : paceExchange(exchange, paces), target)
    } catch (error) {
      refuse(exchange, error, cors)
    }
  }

  return (exchange: Exchange): Promise<void> | undefined => {
    const { name } = parseHost(exchange.head.host)
    return router.owns(name) ? serve(exchange, name) : undefined
  }
}

const over = (exchange: Exchange) =>
  new Promise<void>((resolve) => {
    if (exchange.isOver()) resolve()
    else exchange.onOver(resolve)
  })
