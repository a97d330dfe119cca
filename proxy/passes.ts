/** What every request goes through, whatever carries it: it is admitted, held until its VM is awake, prepared, and sent. */
import type { IncomingHttpHeaders } from "node:http"
import type { Log } from "../src/log.ts"
import type { Tokens } from "../src/tokens/tokens.ts"
import { beginActivity, type OpenActivity } from "./activity.ts"
import { admit, type Admitted } from "./admission/admission.ts"
import type { Claim } from "./admission/claim.ts"
import { enter, isForEntrance } from "./browser/enter.ts"
import { EdgeError, toAnswer, type EdgeAnswer, type EdgeErrorCode } from "./errors.ts"
import { goneSignal, type Exchange } from "./exchange.ts"
import type { Pool, Pools } from "./guest/pools.ts"
import type { GuestPlace } from "./guest/send.ts"
import { createServeUrl, type FunctionUrls } from "./function-url/serve.ts"
import { prepareRequest } from "./headers.ts"
import type { Limits } from "./limits/limits.ts"
import type { EdgeMetrics } from "./metrics.ts"
import { RouteError, type Router } from "./route.ts"

export interface PassOptions {
  readonly router: Router
  readonly tokens: Tokens
  readonly pools: Pools
  readonly limits: Limits
  readonly metrics: EdgeMetrics
  readonly log: Log
  /** Left out where there are no functions. */
  readonly functionUrls?: FunctionUrls | undefined
  readonly maxHeaderKiB: number
  readonly maxUrlMiB: number
  /** How long an answer of the edge's own waits to be read, too. */
  readonly idleTimeoutSeconds: number
}

/** Carries one exchange from its claim to its end; a refusal is answered, nothing is thrown. */
export type Serve = (
  exchange: Exchange,
  toClaim: () => Claim,
  send: (at: GuestPlace, pool: Pool) => Promise<void>,
) => Promise<void>

export const createServe = (options: PassOptions): Serve => {
  const { router, tokens, pools, limits, metrics, log, functionUrls, idleTimeoutSeconds } = options
  /** Counts the request as open and waits until its VM is awake; a client that gives up ends its wait. */
  const hold = async (
    exchange: Exchange,
    { target, token }: Admitted,
  ): Promise<{ address: string; open: OpenActivity }> => {
    const leave = limits.enter(exchange, target.vmId, token)
    const activity = beginActivity(target.activity)
    const end = () => {
      leave()
      activity.end()
    }
    const open = { ...activity, end }
    try {
      if (target.address !== undefined) return { address: target.address, open }
      const heldAt = performance.now()
      const address = await target.awake(goneSignal(exchange))
      metrics.held(performance.now() - heldAt)
      return { address, open }
    } catch (error) {
      open.end()
      throw error instanceof RouteError ? new EdgeError(error.code, { cause: error }) : error
    }
  }

  /** Answers somebody who was not let in: whoever doesn't read it has no token whose limits would count it. */
  const answerInstead = (exchange: Exchange, answer: EdgeAnswer) => {
    if (exchange.isOver()) return
    exchange.answerInstead(answer)
    const unread = setTimeout(() => exchange.breakOff(), idleTimeoutSeconds * 1000)
    exchange.onOver(() => clearTimeout(unread))
  }

  const serveUrl = functionUrls && createServeUrl({ ...options, ...functionUrls, answerInstead })

  const pass = async (exchange: Exchange, toClaim: () => Claim, send: Parameters<Serve>[2]) => {
    const { head, requestId, remoteAddress } = exchange
    const claim = toClaim()
    const byUrl = serveUrl?.(exchange)
    if (byUrl !== undefined) return byUrl
    if (isForEntrance(head)) {
      const answer = await enter(head, requestId, router, tokens)
      exchange.discardBody()
      answerInstead(exchange, answer)
      return
    }
    const admitted = await admit(head, claim, router, tokens)
    // Nobody is woken, nothing is sent for one that left.
    if (exchange.isOver()) return
    const { address, open } = await hold(exchange, admitted)
    try {
      if (exchange.isOver()) return
      const meter = metrics.begin(admitted.target.vmId, exchange.protocol)
      exchange.onOver(() => meter.end(exchange.status()))
      const wantsHttp2 = asksForHttp2(head.headers)
      prepareRequest(head.headers, { host: head.host, remoteAddress: remoteAddress ?? "", requestId })
      const { vmId } = admitted.target
      const paces = limits.pacesOf(vmId)
      const at = { address, port: admitted.port, requestId, meter, wantsHttp2, paces, onEndless: open.isEndless }
      await send(at, pools.of(vmId))
    } finally {
      open.end()
    }
  }

  const codeOf = (error: unknown, requestId: string): EdgeErrorCode => {
    if (error instanceof EdgeError) return error.code
    log.error({ requestId, err: error }, "The edge failed")
    return "INTERNAL"
  }

  return async (exchange, toClaim, send) => {
    try {
      await pass(exchange, toClaim, send)
    } catch (error) {
      if (exchange.isOver()) return
      exchange.discardBody()
      const { head, requestId } = exchange
      const answer = toAnswer(codeOf(error, requestId), requestId, head.headers.accept)
      metrics.refused(answer.name)
      answerInstead(exchange, answer)
    }
  }
}

/** gRPC exists over HTTP/2 only, whatever its client asks for. */
const asksForHttp2 = (headers: IncomingHttpHeaders) =>
  headers["x-aws-proxy-force-h2"] === "true" || /^application\/grpc(?:$|[+;])/i.test(headers["content-type"] ?? "")
