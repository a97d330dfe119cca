/** The way of a request into a guest, in the protocol that the application on the port speaks. */
import type { Exchange } from "../exchange.ts"
import { paceExchange } from "../limits/paced-exchange.ts"
import { sendBodiless } from "./bodiless/send.ts"
import { toEdgeError } from "./failure.ts"
import { sendHttp1 } from "./http1.ts"
import { sendHttp2 } from "./http2.ts"
import { AttemptError, REST_MS, type Place } from "./place.ts"
import type { Pool } from "./pools.ts"
import { HTTP1, speechOf, type Speech } from "./speech.ts"

/** Sends a request to a guest; resolves when the exchange is over, rejects with an EdgeError while nothing was answered yet. */
export type SendRequest = (exchange: Exchange, at: GuestPlace, pool: Pool) => Promise<void>

export interface GuestPlace extends Place {
  /** The client asks for HTTP/2, or speaks what only exists over it. */
  readonly wantsHttp2: boolean
}

export const sendRequest: SendRequest = (exchange_, at, pool) => {
  const exchange = at.paces === undefined ? exchange_ : paceExchange(exchange_, at.paces)
  const known = pool.speech.get(at.port)
  const send = ({ isTls, isHttp2 }: Speech) =>
    sendAs({ isTls, isHttp2: isHttp2 || (at.wantsHttp2 && !isTls) }, exchange, at, pool)
  // Half a body may be gone before an application shows what it speaks: then it is asked first.
  const speech = known ?? (exchange.hasBody || at.wantsHttp2 ? speechOf(pool.speech, at) : undefined)
  const sent =
    speech === undefined
      ? tryHttp1(exchange, at, pool)
      : speech instanceof Promise
        ? // Its end is past when it is over: nobody would ever tell the attempt of it.
          speech.then((told) => (exchange.isOver() ? undefined : send(told)))
        : send(speech)
  return sent.catch((error: unknown) => {
    // It may have been restarted as something else.
    if (error instanceof AttemptError) pool.speech.delete(at.port)
    throw toEdgeError(error, pool)
  })
}

/** HTTP/1.1 to an application that nobody has asked: what it says to a request without a body may show that it speaks otherwise. */
const tryHttp1 = async (exchange: Exchange, at: Place, pool: Pool): Promise<void> => {
  const refuseTls = async () => {
    if ((await speechOf(pool.speech, at)).isTls) throw new Error("The application speaks TLS")
  }
  const accept = (status: number) => {
    // Servers of TLS that know what HTTP looks like say so in it.
    if (status === 400) return refuseTls()
    pool.speech.set(at.port, HTTP1)
    return undefined
  }
  try {
    await withoutBody(exchange, at, pool, false, accept)
  } catch (error) {
    if (!(error instanceof AttemptError)) throw error
    const speech = pool.isDropped || isUnreachable(error) ? HTTP1 : await speechOf(pool.speech, at)
    if (speech === HTTP1 || exchange.isOver() || pool.isDropped) throw error
    // It took none of it for a request.
    await sendAs(speech, exchange, at, pool)
  }
}

const withoutBody = (
  exchange: Exchange,
  at: Place,
  pool: Pool,
  isTls: boolean,
  accept?: (status: number) => Promise<void> | undefined,
): Promise<void> => {
  const options = { connections: pool.connections, isTls, accept }
  if (!REPEATABLE.has(at.head.method)) return sendBodiless(exchange, at, { ...options, maxRestMs: REST_MS })
  return sendBodiless(exchange, at, { ...options, maxRestMs: Infinity }).catch((error: unknown) => {
    const isStale = error instanceof AttemptError && error.isStale
    if (!isStale || pool.isDropped || exchange.isOver()) throw error
    return sendBodiless(exchange, at, { ...options, maxRestMs: 0 })
  })
}

const sendAs = ({ isTls, isHttp2 }: Speech, exchange: Exchange, at: Place, pool: Pool): Promise<void> => {
  if (isHttp2) return sendHttp2(exchange, at, pool.sessions, isTls)
  if (exchange.hasBody) return sendHttp1(exchange, at, { agents: pool.kept, isTls })
  return withoutBody(exchange, at, pool, isTls)
}

const isUnreachable = (error: unknown) =>
  ["ECONNREFUSED", "EHOSTUNREACH"].includes(((error as Error).cause as NodeJS.ErrnoException | undefined)?.code ?? "")

/** Asking twice changes nothing. */
const REPEATABLE = new Set(["GET", "HEAD"])
