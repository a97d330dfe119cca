import { Readable } from "node:stream"
import type { Settlement } from "../../../machines/environments/environments.ts"
import type { Invoked, Invoker, InvokeRequest } from "../../../machines/functions/invoking/invoker.ts"

/** What a function of the test's answers. */
export interface Response {
  readonly body?: string | Buffer | Readable
  /** By default what runtimes say of one that is not streamed. */
  readonly contentType?: string
  /** `Unhandled`, when it failed; looked at when the body has ended. */
  readonly error?: string
}

export type Handler = (
  event: UrlEvent,
  request: InvokeRequest,
  signal: AbortSignal,
) => Response | object | string | Promise<Response | object | string>

export interface UrlEvent {
  readonly rawPath: string
  readonly rawQueryString: string
  readonly headers: Record<string, string>
  readonly cookies?: string[]
  readonly queryStringParameters?: Record<string, string>
  readonly requestContext: Record<string, unknown> & { http: Record<string, string>; requestId: string }
  readonly body?: string
  readonly isBase64Encoded: boolean
}

const settlement: Settlement = {
  durationMs: 1,
  billedMs: 1,
  initMs: undefined,
  maxMemoryBytes: 1,
  tail: Buffer.alloc(0),
}

/** Marks a response as it is, and no value that the function returns. */
export const respond = (response: Response): Response => Object.assign(response, { isResponse: true })

/** An invoker by the contract, whose functions are a function of the test's: what it returns is the handler's value, or a {@link respond}. */
export const createFakeInvoker = (handler: () => Handler): Invoker & { readonly requests: InvokeRequest[] } => {
  const requests: InvokeRequest[] = []
  return {
    requests,
    async invoke(request, signal): Promise<Invoked> {
      requests.push(request)
      const value = await handler()(JSON.parse(request.payload.toString()) as UrlEvent, request, signal)
      const response: Response =
        typeof value === "object" && value !== null && "isResponse" in value
          ? (value as Response)
          : { body: JSON.stringify(value) }
      const { body = "", contentType = "application/json", error } = response
      const whole = body instanceof Readable ? body : Readable.from([Buffer.from(body)], { objectMode: false })
      const failure = error === undefined ? undefined : { errorType: error, body: Buffer.from("{}") }
      return {
        executedVersion: "$LATEST",
        contentType,
        isStreamed: request.mode === "streaming",
        body: whole,
        end: new Promise((resolve) => whole.once("close", () => resolve(failure))),
        settled: Promise.resolve(settlement),
      }
    },
    check: () => Promise.resolve(),
  }
}
