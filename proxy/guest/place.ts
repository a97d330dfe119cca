import type { Socket } from "node:net"
import type { RequestHead } from "../admission/request-head.ts"
import type { Meter } from "../metrics.ts"
import type { Paces } from "../limits/limits.ts"

/**
 * How long a kept connection may have rested for a request that cannot be asked again. Applications close theirs after two seconds or
 * more, most without a word of it: a request that is sent just then is lost, and nobody knows whether it was read.
 */
export const REST_MS = 1000

/**
 * Fails a connection that isn't made in time. A process that the machine didn't run for so long looks at what has come meanwhile before
 * it gives up: its timers are due first.
 */
export const limitConnecting = (
  timeoutMs: number,
  isConnecting: () => boolean,
  fail: (cause: Error) => void,
): NodeJS.Timeout =>
  setTimeout(
    () =>
      setImmediate(() => {
        if (isConnecting()) fail(new Error("The guest did not accept the connection in time"))
      }),
    timeoutMs,
  )

/** Where an exchange goes in a VM. */
export interface Place {
  readonly address: string
  readonly port: number
  /** How long a connection to it may take. */
  readonly connectTimeoutMs: number
  /** The request as the application gets it. */
  readonly head: RequestHead
  readonly requestId: string
  readonly meter: Meter
  /** What the VM's bodies and WebSockets keep to, where a bandwidth is configured. */
  readonly paces: Paces | undefined
  /** Called when the answer is one that ends only when somebody ends it: a stream of events. */
  readonly onEndless: () => void
  /** Called when the client's connection has become a WebSocket: the exchange is over, and counts until the connection is closed. */
  readonly onWebSocket: (socket: Socket) => void
}

/** An attempt that came to nothing, with nothing said to the client. */
export class AttemptError extends Error {
  override readonly name = "AttemptError"
  /** The application closed a kept connection while we took it. */
  readonly isStale: boolean

  constructor(cause: unknown, isReused: boolean) {
    super("The exchange with the application failed", { cause })
    this.isStale = isReused && ["ECONNRESET", "EPIPE"].includes((cause as NodeJS.ErrnoException).code ?? "")
  }
}
