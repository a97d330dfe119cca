import type { IncomingHttpHeaders } from "node:http"
import type { Readable } from "node:stream"
import type { UrlCors } from "../src/db/function-values.ts"
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
  /** Whether anything from outside may reach its ports, whatever a token says. */
  readonly isOpen: boolean
  /** Where it is reached, while it is awake: looked at first, so that an awake VM costs nothing. */
  readonly address: string | undefined
  /** Resolves with the address once it is awake, and wakes it if it may be woken. Rejects with a {@link RouteError}. */
  awake(signal: AbortSignal): Promise<string>
  readonly activity: Activity
}

/** Where a request's Host leads, of those that name a MicroVM. */
export interface Router {
  find(host: string): VmTarget | undefined | Promise<VmTarget | undefined>
}

/** A function, or an alias of one, by the address of its own. */
export interface FunctionUrlTarget {
  readonly kind: "function-url"
  /** The first label of its name. */
  readonly id: string
  readonly authType: "NONE" | "AWS_IAM"
  readonly isStreamed: boolean
  readonly cors: UrlCors | null
  /** Whether it may be invoked by whoever signed, or by anybody where nobody need sign. */
  allows(signer: Signer | undefined): boolean
  /**
   * Gives the function the event, JSON; resolves when its answer begins, or has failed. Throws a ServiceError when it is not
   * given. A caller that is gone (`signal`) gives up its place while it waits; what has begun goes on.
   */
  invoke(event: UrlEvent, signal: AbortSignal): Promise<UrlInvoked>
}

export interface UrlEvent {
  readonly requestId: string
  readonly traceId: string
  readonly payload: Buffer
}

export interface UrlInvoked {
  readonly contentType: string
  /** The response's bytes, at the reader's pace; ends also when it fails. Whoever does not want them destroys it. */
  readonly body: Readable
  /** Resolves when the answer is whole: `undefined`, or how it failed. */
  readonly end: Promise<object | undefined>
}

/** Where the hosts of function URLs lead. Such a host is recognised by its name alone, without a look-up. */
export interface FunctionUrlRouter {
  owns(host: string): boolean
  find(host: string): FunctionUrlTarget | undefined | Promise<FunctionUrlTarget | undefined>
}

/** Who signed a request. */
export interface Signer {
  readonly accessKeyId: string
  readonly account: string
  /** The region that it was signed for. */
  readonly region: string
}

/** Verifies signatures of requests to function URLs: SigV4 of the service `lambda`. */
export interface Signatures {
  /**
   * Checks all that can be known before the body is read; `undefined` for a request without a signature. What comes of it takes the
   * body's SHA-256 in hex. Both throw a ServiceError for a signature that isn't good.
   */
  open(method: string, path: string, headers: IncomingHttpHeaders): Promise<((bodyHash: string) => Signer) | undefined>
}
