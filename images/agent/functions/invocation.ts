/** One invocation: the event that a runtime is given, and its answer, as a stream to whoever invoked. */
import { PassThrough, type Readable } from "node:stream"

export interface InvocationEvent {
  readonly requestId: string
  /** Milliseconds since 1970. */
  readonly deadlineMs: number
  /** As it was called, with its qualifier. */
  readonly functionArn: string
  readonly payload: Buffer
  /** `buffered`: who invoked takes the answer whole, or not at all. */
  readonly mode: "buffered" | "streaming"
  readonly contentType?: string | undefined
  readonly traceId?: string | undefined
  /** JSON. */
  readonly clientContext?: string | undefined
  /** JSON. */
  readonly cognitoIdentity?: string | undefined
  readonly tenantId?: string | undefined
}

/** How an invocation, or a life, failed: a name for logs and metrics, and the JSON that who invoked is given. */
export interface Failure {
  readonly errorType: string
  readonly body: Buffer
}

export interface AnswerHead {
  readonly contentType: string
  /** The runtime said that it streams. */
  readonly isStreamed: boolean
}

/** Methods, where something is to be looked up: V8 keeps the accessors of each object until a full collection. */
export interface Answer {
  /** Resolves with the response's first byte or before it; `undefined` when it failed without a response. */
  readonly head: Promise<AnswerHead | undefined>
  /** With the head, all of the response, where it came whole: who takes this need not look at the body, which costs more. */
  whole(): Buffer | undefined
  /** The response's bytes, at the reader's pace; ends also when it fails. Whoever does not want them destroys it. */
  body(): Readable
  /** Resolves when the answer is whole: `undefined`, or how it failed. */
  readonly end: Promise<Failure | undefined>
  /** Resolves when the runtime and the extensions are done with it: from then on the environment may be frozen. */
  readonly settled: Promise<Settlement>
}

export interface Settlement {
  /** From when the runtime was given the event; 0 when it never was. */
  readonly durationMs: number
}

/** The answer's other side, for the runtime's requests. */
export interface Invocation {
  readonly event: InvocationEvent
  readonly answer: Answer
  /** Its end is known: nothing more is taken. */
  isEnded(): boolean
  producedBytes(): number
  /** Since it was given; 0 before. */
  durationMs(): number
  /** The runtime has it. */
  give(): void
  begin(head: AnswerHead): void
  /** Resolves when more may follow; at once when nobody reads any more. */
  write(chunk: Buffer): Promise<void>
  /** The response is this, and whole. */
  respond(head: AnswerHead, body: Buffer): void
  finish(failure?: Failure): void
  settle(): void
}

/** An invocation of this event, not yet given to anyone. */
export const createInvocation = (event: InvocationEvent): Invocation => {
  const head = Promise.withResolvers<AnswerHead | undefined>()
  const end = Promise.withResolvers<Failure | undefined>()
  const settled = Promise.withResolvers<Settlement>()
  /** Made when it is first looked at. */
  let body: PassThrough | undefined
  let whole: Buffer | undefined
  const bodyOf = () => {
    if (body !== undefined) return body
    body = new PassThrough()
    // Who doesn't want the rest has heard its own reasons.
    body.on("error", () => {})
    if (isEnded) body.end(whole)
    return body
  }
  let isEnded = false
  let producedBytes = 0
  let givenAt: number | undefined
  const durationMs = () => (givenAt === undefined ? 0 : performance.now() - givenAt)
  return {
    event,
    answer: {
      head: head.promise,
      whole: () => whole,
      body: bodyOf,
      end: end.promise,
      settled: settled.promise,
    },
    isEnded: () => isEnded,
    producedBytes: () => producedBytes,
    durationMs,
    give: () => void (givenAt = performance.now()),
    begin: (what) => head.resolve(what),
    async write(chunk) {
      if (isEnded) return
      producedBytes += chunk.length
      const to = bodyOf()
      if (to.destroyed || to.write(chunk)) return
      const room = new Promise<void>((resolve) => void to.once("drain", resolve).once("close", resolve))
      await Promise.race([room, end.promise])
    },
    respond(about, bytes) {
      if (isEnded) return
      producedBytes += bytes.length
      whole = bytes
      isEnded = true
      head.resolve(about)
      body?.end(whole)
      end.resolve(undefined)
    },
    finish(failure) {
      if (isEnded) return
      isEnded = true
      head.resolve(undefined)
      body?.end()
      end.resolve(failure)
    },
    settle: () => settled.resolve({ durationMs: durationMs() }),
  }
}

/** A failure in the words that callers of AWS know. */
export const toFailure = (errorType: string, errorMessage: string): Failure => ({
  errorType,
  body: Buffer.from(JSON.stringify({ errorType, errorMessage })),
})
