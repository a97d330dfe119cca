/** The runtime's half of the Runtime API: it asks for the next event and answers it, one at a time. */
import type { ServerResponse } from "node:http"
import { MAX_PAYLOAD_BYTES, readBody } from "./body.ts"
import { ACCEPTED, answer, toHeader, type Exchange, type Route } from "./exchange.ts"
import { toFailure, type AnswerHead, type Failure, type Invocation, type InvocationEvent } from "./invocation.ts"
import { Refusal } from "./refusal.ts"
import type { Asking, AwaitingRestore, ChannelRuntime } from "./runtime-channel.ts"
import { createRuntimeState } from "./runtime-state.ts"

const ERROR_TYPE = "lambda-runtime-function-error-type"
const ERROR_BODY = "lambda-runtime-function-error-body"
const RESPONSE_MODE = "lambda-runtime-function-response-mode"

/** Variables of its environment that are others now, by their names: our own runtimes take them, and AWS's don't look. */
export type RestoredVariables = Readonly<Record<string, string>>

/** What whoever owns the runtime hears of it. */
export interface RuntimeEvents {
  /** It has moved: whether it waits for an event may have changed. */
  onMoved(): void
  onFailure(failure: Failure): void
  onGiven(invocation: Invocation): void
  onAnswered(invocation: Invocation, failure: Failure | undefined): void
}

export interface RuntimeLimits {
  readonly maxStreamedBytes: number
  /** `restore/next` is there for those that were restored from a snapshot only. */
  readonly isSnapshotted: boolean
}

/** The routes of a runtime that has just been started. */
export const createRuntime = (events: RuntimeEvents, limits: RuntimeLimits) => {
  const state = createRuntimeState()
  /** The last to ask for an event; it has it as soon as there is one. */
  let asking: Asking | undefined
  let awaiting: AwaitingRestore | undefined
  let current: Invocation | undefined

  const move = (to: Parameters<typeof state.move>[0]) => {
    state.move(to)
    events.onMoved()
  }

  const ask = (next: Asking) => {
    move("Ready")
    if (asking !== next && asking?.isGone === false) asking.refuse()
    asking = next
    give()
  }

  const awaitRestore = (next: AwaitingRestore) => {
    if (!limits.isSnapshotted) throw notSnapshotted()
    move("RestoreReady")
    if (awaiting?.isGone === false) awaiting.refuse()
    awaiting = next
  }

  const give = () => {
    if (current === undefined || current.isEnded() || state.now !== "Ready" || asking?.isGone !== false) return
    const to = asking
    asking = undefined
    move("Running")
    current.give()
    events.onGiven(current)
    to.give(current.event)
  }

  /** The invocation that the path names, when it is the one that waits for an answer. */
  const currentBy = (id: string): Invocation => {
    if (current === undefined || current.isEnded() || current.event.requestId !== id) throw unknownId()
    return current
  }

  const sent = (invocation: Invocation, failure: Failure | undefined) => {
    if (invocation.isEnded()) return
    invocation.finish(failure)
    events.onAnswered(invocation, failure)
    move("ResponseSent")
  }

  const respond = (invocation: Invocation, head: AnswerHead, body: Buffer) => {
    invocation.respond(head, body)
    events.onAnswered(invocation, undefined)
    move("ResponseSent")
  }

  const bodyOf = async (exchange: Exchange, invocation: Invocation): Promise<Buffer> => {
    const body = await readBody(exchange.request, MAX_PAYLOAD_BYTES).catch((): never => {
      // Nothing of it was passed on: it may be sent again.
      if (!invocation.isEnded()) move("Running")
      throw truncated()
    })
    // It was ended meanwhile, by its deadline or its environment's end.
    if (invocation.isEnded()) throw unknownId()
    if (body !== undefined) return body
    sent(invocation, tooLarge(MAX_PAYLOAD_BYTES))
    throw refusedAsTooLarge(MAX_PAYLOAD_BYTES)
  }

  const failureIn = ({ request }: Exchange, body: Buffer): Failure => ({
    errorType: errorTypeOf(request.headers[ERROR_TYPE]),
    body,
  })

  const respondWhole = async (exchange: Exchange, invocation: Invocation, head: AnswerHead) => {
    const body = await bodyOf(exchange, invocation)
    const failure = failureInTrailers(exchange)
    if (failure === undefined) return respond(invocation, head, body)
    invocation.begin(head)
    sent(invocation, failure)
  }

  const respondStreaming = async (exchange: Exchange, invocation: Invocation, head: AnswerHead) => {
    invocation.begin(head)
    let isTooLarge = false
    try {
      for await (const chunk of exchange.request) {
        if (isTooLarge) continue
        isTooLarge = invocation.producedBytes() + (chunk as Buffer).length > limits.maxStreamedBytes
        if (isTooLarge) sent(invocation, tooLarge(limits.maxStreamedBytes))
        else await invocation.write(chunk as Buffer)
      }
    } catch {
      sent(invocation, toFailure("Runtime.TruncatedResponse", "The response ended before it was whole."))
      throw truncated()
    }
    if (isTooLarge) throw refusedAsTooLarge(limits.maxStreamedBytes)
    sent(invocation, failureInTrailers(exchange))
  }

  const routes: Record<string, Route> = {
    "GET /2018-06-01/runtime/invocation/next": ({ response }) => ask(toAsking(response)),
    "POST /2018-06-01/runtime/invocation/*/response": async (exchange) => {
      const { request, response, id } = exchange
      const invocation = currentBy(id)
      const mode = request.headers[RESPONSE_MODE]
      if (mode !== undefined && mode !== "streaming")
        throw new Refusal(400, "InvalidFunctionResponseMode", `Invalid function response mode: ${String(mode)}`)
      move("InvocationResponse")
      const isStreamed = mode === "streaming"
      const contentType = request.headers["content-type"] ?? "application/json"
      const take = isStreamed && invocation.event.mode === "streaming" ? respondStreaming : respondWhole
      await take(exchange, invocation, { contentType, isStreamed })
      answer(response, 202, ACCEPTED)
    },
    "POST /2018-06-01/runtime/invocation/*/error": async (exchange) => {
      const invocation = currentBy(exchange.id)
      move("InvocationErrorResponse")
      const body = await bodyOf(exchange, invocation)
      sent(invocation, failureIn(exchange, body))
      answer(exchange.response, 202, ACCEPTED)
    },
    "POST /2018-06-01/runtime/init/error": async (exchange) => {
      move("InitError")
      events.onFailure(failureIn(exchange, await errorBodyOf(exchange)))
      answer(exchange.response, 202, ACCEPTED)
    },
    "GET /2018-06-01/runtime/restore/next": ({ response }) => awaitRestore(toAwaiting(response)),
    "POST /2018-06-01/runtime/restore/error": async (exchange) => {
      if (!limits.isSnapshotted) throw notSnapshotted()
      move("RestoreError")
      events.onFailure(failureIn(exchange, await errorBodyOf(exchange)))
      answer(exchange.response, 202, ACCEPTED)
    },
  }

  /** The invocation that a channel answers, where it still may. */
  const answered = (to: Parameters<typeof state.move>[0]): Invocation | undefined => {
    if (current === undefined || current.isEnded()) return undefined
    move(to)
    return current
  }

  const channel: ChannelRuntime = {
    ask,
    awaitRestore,
    respond(body) {
      const invocation = answered("InvocationResponse")
      if (invocation === undefined) return
      if (body === undefined) sent(invocation, tooLarge(MAX_PAYLOAD_BYTES))
      else respond(invocation, { contentType: "application/json", isStreamed: false }, body)
    },
    fail(errorType, body) {
      const invocation = answered("InvocationErrorResponse")
      if (invocation !== undefined) sent(invocation, { errorType: errorTypeOf(errorType), body })
    },
  }

  return {
    routes,
    channel,
    /** It waits for an event, or for its restore: its init, or its last invocation, is over. */
    get isWaiting() {
      return state.now === "Ready" || state.now === "RestoreReady"
    },
    /** Gives it the event as soon as it asks; there is none before it. */
    invoke(invocation: Invocation) {
      current = invocation
      give()
    },
    /** It asks for an event, or has been asked for one: what follows its restore is over. */
    get isReady() {
      return state.now === "Ready"
    },
    /** It has been restored: the hooks that follow are run before it asks for an event. */
    restore(variables: RestoredVariables) {
      // One without hooks of its own waits for its first event already.
      if (state.now !== "RestoreReady") return
      move("Restoring")
      if (awaiting?.isGone === false) awaiting.goOn(variables)
      awaiting = undefined
    },
  }
}

/** A request for the next event. */
const toAsking = (response: ServerResponse): Asking => ({
  get isGone() {
    return response.destroyed
  },
  give: (event) => answer(response, 200, event.payload, headersOf(event)),
  refuse: () => refuseOther(response),
})

/** A request for the restore. AWS's clients look at no answer: that without variables is empty. */
const toAwaiting = (response: ServerResponse): AwaitingRestore => ({
  get isGone() {
    return response.destroyed
  },
  goOn: (variables) => answer(response, 200, Object.keys(variables).length === 0 ? "" : JSON.stringify(variables)),
  refuse: () => refuseOther(response),
})

const refuseOther = (response: ServerResponse) => {
  const words = "The next event was asked for by another request."
  answer(response, 403, `${JSON.stringify({ errorMessage: words, errorType: "InvalidStateTransition" })}\n`)
}

/** A life's failure, which is told whether its words arrive or not. */
const errorBodyOf = async ({ request }: Exchange): Promise<Buffer> => {
  const body = await readBody(request, MAX_PAYLOAD_BYTES).catch(() => undefined)
  return body ?? Buffer.from("{}")
}

const unknownId = () => new Refusal(400, "InvalidRequestID", "Invalid request ID")

const truncated = () => new Refusal(400, "TruncatedHTTPRequest", "HTTP request detected as truncated")

const tooLarge = (maxBytes: number): Failure =>
  toFailure(
    "Function.ResponseSizeTooLarge",
    `Response payload size exceeded maximum allowed payload size (${maxBytes} bytes).`,
  )

const refusedAsTooLarge = (maxBytes: number) =>
  new Refusal(413, "RequestEntityTooLarge", `Exceeded maximum allowed payload size (${maxBytes} bytes).`)

const notSnapshotted = () =>
  new Refusal(403, "InvalidStateTransition", "This environment is not restored from a snapshot.")

const headersOf = (event: InvocationEvent): Record<string, string> => {
  const optional = {
    "Lambda-Runtime-Trace-Id": event.traceId,
    "Lambda-Runtime-Client-Context": event.clientContext,
    "Lambda-Runtime-Cognito-Identity": event.cognitoIdentity,
    "Lambda-Runtime-Aws-Tenant-Id": event.tenantId,
  }
  return {
    "content-type": toHeader(event.contentType ?? "application/json"),
    "Lambda-Runtime-Aws-Request-Id": event.requestId,
    "Lambda-Runtime-Deadline-Ms": String(event.deadlineMs),
    "Lambda-Runtime-Invoked-Function-Arn": toHeader(event.functionArn),
    ...Object.fromEntries(
      Object.entries(optional).flatMap(([name, text]) => (text === undefined ? [] : [[name, toHeader(text)]])),
    ),
  }
}

/** Only what is one of the platform's own kinds is told on; it is the name in logs and metrics, and not what the caller gets. */
const errorTypeOf = (given: string | string[] | undefined): string => {
  const text = String(given ?? "")
  if (/^(?:Runtime|Function)\.[A-Z][A-Za-z]+$/.test(text)) return text
  return text.startsWith("Function.") ? "Function.Unknown" : "Runtime.Unknown"
}

/** A stream that failed after it had begun says so behind its last byte. */
const failureInTrailers = ({ request: { trailers } }: Exchange): Failure | undefined => {
  const type = trailers[ERROR_TYPE]
  if (type === undefined) return undefined
  return { errorType: errorTypeOf(type), body: Buffer.from(trailers[ERROR_BODY] ?? "", "base64") }
}
