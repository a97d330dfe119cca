/** What every request goes through, whatever carries it: it is admitted, held until its VM is awake, prepared, and sent. */
import type { IncomingHttpHeaders } from "node:http"
import type { Socket } from "node:net"
import type { Log } from "../src/log.ts"
import type { Tokens } from "../src/tokens/tokens.ts"
import { beginActivity } from "./activity.ts"
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
import type { EdgeMetrics, Meter } from "./metrics.ts"
import { RouteError, type Router, type VmTarget } from "./route.ts"

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
  readonly connectTimeoutSeconds: number
  /** How long an answer of the edge's own waits to be read, too. */
  readonly idleTimeoutSeconds: number
}

/** Carries one exchange from its claim to its end; a refusal is answered, nothing is thrown. */
export type Serve = (exchange: Exchange, toClaim: () => Claim, send: Send) => void

/** Sends an exchange into a guest; resolves when it is over, rejects while nothing was answered. */
type Send = (at: GuestPlace, pool: Pool) => Promise<void>

export interface Passes {
  readonly serve: Serve
  /** From now on streams of events are broken off: nobody but their clients and VMs would ever end them, and a client asks again. */
  retire(): void
}

export const createPasses = (options: PassOptions): Passes => {
  const { router, tokens, pools, limits, metrics, log, functionUrls, connectTimeoutSeconds, idleTimeoutSeconds } =
    options
  const endless = new Set<Exchange>()
  let isRetired = false
  /** Waits until a VM is awake; a client that gives up ends its wait. */
  const wake = async (exchange: Exchange, target: VmTarget): Promise<string> => {
    const heldAt = performance.now()
    try {
      const address = await target.awake(goneSignal(exchange))
      metrics.held(performance.now() - heldAt)
      return address
    } catch (error) {
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

  /** Sends a request that was let in to its VM, and counts it as open from here to its end. */
  const carry = (exchange: Exchange, { target, port, token }: Admitted, send: Send): Promise<void> | undefined => {
    const { head, requestId, remoteAddress = "" } = exchange
    const { vmId } = target
    const leave = limits.enter(exchange, vmId, token)
    const activity = beginActivity(target.activity)
    const end = both(leave, activity.end)
    let isWebSocket = false
    const sendTo = (address: string): Promise<void> | undefined => {
      if (exchange.isOver()) return undefined
      const meter = metrics.begin(vmId, exchange.protocol)
      exchange.onOver(() => meter.end(exchange.status()))
      const place = {
        address,
        port,
        connectTimeoutMs: connectTimeoutSeconds * 1000,
        head: { ...head, headers: prepareRequest(head.headers, { host: head.host, remoteAddress, requestId }) },
        requestId,
        meter,
        wantsHttp2: asksForHttp2(head.headers),
        paces: limits.pacesOf(vmId),
        onEndless() {
          activity.isEndless()
          endless.add(exchange)
          exchange.onOver(() => endless.delete(exchange))
          if (isRetired) exchange.breakOff()
        },
        onWebSocket(socket: Socket) {
          isWebSocket = true
          activity.isEndless()
          socket.once("close", both(toEnd(meter), end))
        },
      }
      return send(place, pools.of(vmId))
    }
    try {
      const sent = target.address === undefined ? wake(exchange, target).then(sendTo) : sendTo(target.address)
      if (sent !== undefined)
        return sent.then(
          () => {
            if (!isWebSocket) end()
          },
          (error: unknown) => {
            end()
            throw error
          },
        )
    } catch (error) {
      end()
      throw error
    }
    end()
    return undefined
  }

  const pass = (exchange: Exchange, toClaim: () => Claim, send: Send): Promise<void> | undefined => {
    const { head, requestId } = exchange
    const claim = toClaim()
    const byUrl = serveUrl?.(exchange)
    if (byUrl !== undefined) return byUrl
    if (isForEntrance(head))
      return enter(head, requestId, router, tokens).then((answer) => {
        exchange.discardBody()
        answerInstead(exchange, answer)
      })
    const onAdmitted = (admitted: Admitted) =>
      // Nobody is woken, nothing is sent for one that left.
      exchange.isOver() ? undefined : carry(exchange, admitted, send)
    const admitted = admit(head, claim, router, tokens)
    return admitted instanceof Promise ? admitted.then(onAdmitted) : onAdmitted(admitted)
  }

  const codeOf = (error: unknown, requestId: string): EdgeErrorCode => {
    if (error instanceof EdgeError) return error.code
    log.error({ requestId, err: error }, "The edge failed")
    return "INTERNAL"
  }

  const refuse = (exchange: Exchange, error: unknown) => {
    if (exchange.isOver()) return
    exchange.discardBody()
    const { head, requestId } = exchange
    const answer = toAnswer(codeOf(error, requestId), requestId, head.headers.accept)
    metrics.refused(answer.name)
    answerInstead(exchange, answer)
  }

  return {
    serve(exchange, toClaim, send) {
      try {
        pass(exchange, toClaim, send)?.catch((error: unknown) => refuse(exchange, error))
      } catch (error) {
        refuse(exchange, error)
      }
    },
    retire() {
      isRetired = true
      for (const exchange of endless) exchange.breakOff()
    },
  }
}

// What a WebSocket's end calls, made out here: a closure keeps all that others beside it see, which is the request.

const both = (one: () => void, other: () => void) => () => {
  one()
  other()
}

const toEnd = (meter: Meter) => () => meter.end(101)

/** gRPC exists over HTTP/2 only, whatever its client asks for. */
const asksForHttp2 = (headers: IncomingHttpHeaders) =>
  headers["x-aws-proxy-force-h2"] === "true" || /^application\/grpc(?:$|[+;])/i.test(headers["content-type"] ?? "")
