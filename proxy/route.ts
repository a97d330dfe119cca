import type { Activity } from "./activity.ts"

/** Why a target cannot be reached now; every one is a 502 to the client, and a name in `x-aws-proxy-error`. */
export type RouteFailure = "TERMINATED" | "SUSPENDED" | "RESUME_FAILED"

export class RouteError extends Error {
  override readonly name = "RouteError"
  readonly code: RouteFailure

  constructor(code: RouteFailure) {
    super(`The MicroVM cannot be reached: ${code}`)
    this.code = code
  }
}

/** A port of a MicroVM. */
export interface VmTarget {
  readonly kind: "vm"
  /** What a token names. */
  readonly vmId: string
  /** Where it is reached, while it is awake: looked at first, so that an awake VM costs nothing. */
  readonly address: string | undefined
  /** Resolves with the address once it is awake, and wakes it if it may be woken. Rejects with a {@link RouteError}. */
  awake(signal: AbortSignal): Promise<string>
  readonly activity: Activity
}

/** Where a request's Host leads. Function URLs will be another kind of target. */
export interface Router {
  find(host: string): VmTarget | undefined | Promise<VmTarget | undefined>
}
