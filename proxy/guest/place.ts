import type { Meter } from "../metrics.ts"
import type { Paces } from "../limits/limits.ts"

/** How long a connection to a guest may take: it is on this host, so a full second is a sign. */
export const CONNECT_TIMEOUT_MS = 5000

/** Where an exchange goes in a VM. */
export interface Place {
  readonly address: string
  readonly port: number
  readonly requestId: string
  readonly meter: Meter
  /** What the VM's bodies and WebSockets keep to, where a bandwidth is configured. */
  readonly paces: Paces | undefined
  /** Called when the answer is one that ends only when somebody ends it: a WebSocket, a stream of events. */
  readonly onEndless: () => void
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
