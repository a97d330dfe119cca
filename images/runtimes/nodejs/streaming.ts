/** Answers that are streams: `awslambda.streamifyResponse` and what such a handler writes to. */
import { Writable } from "node:stream"
import type { ClientRequest } from "node:http"
import { answerOf, textOf, trailersOf, type Client } from "./client.ts"
import { RuntimeError } from "./failure.ts"

/** Where a handler says that it streams; libraries look for it under this name. */
export const STREAMING: unique symbol = Symbol.for("aws.lambda.runtime.handler.streaming") as never
const HIGH_WATER_MARK = Symbol.for("aws.lambda.runtime.handler.streaming.highWaterMark")

const HTTP_RESPONSE = "application/vnd.awslambda.http-integration-response"
/** Between what says status and headers, and the body. */
const DELIMITER = Buffer.alloc(8)

/** What a streaming handler writes to. The response begins with the first byte, or with the end. */
export class ResponseStream extends Writable {
  #open: () => ClientRequest
  #contentType = "application/octet-stream"
  #prelude: Buffer | undefined
  #request: ClientRequest | undefined
  #answered: Promise<unknown> | undefined
  readonly #finished: Promise<void>

  constructor(client: Client, id: string, highWaterMark: number | undefined) {
    super(highWaterMark === undefined ? {} : { highWaterMark })
    this.#open = () => client.stream(id, this.#contentType)
    this.#finished = new Promise((resolve, reject) => {
      this.once("finish", resolve).once("error", reject)
      this.once("close", () => reject(new Error("Response stream is not finished.")))
    })
    // It is for who awaits it, or for nobody.
    this.#finished.catch(() => {})
  }

  setContentType(contentType: string): void {
    if (this.#request !== undefined)
      throw new RuntimeError("Runtime.InvalidStreamingOperation", "Cannot set content-type, too late.")
    this.#contentType = contentType
  }

  /** Comes before the first byte. */
  setPrelude(prelude: unknown): void {
    this.setContentType(HTTP_RESPONSE)
    this.#prelude = Buffer.concat([Buffer.from(JSON.stringify(prelude)), DELIMITER])
  }

  get hasBegun(): boolean {
    return this.#request !== undefined
  }

  // What is neither text nor bytes is written as JSON.
  override write(chunk: unknown, ...rest: never[]): boolean {
    const isPlain = typeof chunk === "string" || chunk instanceof Uint8Array
    return super.write(isPlain ? chunk : JSON.stringify(chunk), ...rest)
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: (error?: Error | null) => void): void {
    const opened = this.#begin()
    if (opened.write(chunk)) done()
    else opened.once("drain", done)
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#begin().end()
    this.#answered?.then(() => done(), done)
  }

  #begin(): ClientRequest {
    if (this.#request !== undefined) return this.#request
    const opened = (this.#request = this.#open())
    this.#answered = answerOf(opened).then(textOf)
    this.#answered.catch(() => {})
    opened.on("error", () => {})
    if (this.#prelude !== undefined) opened.write(this.#prelude)
    return opened
  }

  /** Resolves when it has ended and is taken. */
  get finished(): Promise<void> {
    return this.#finished
  }

  /** Ends what has begun, with its failure. */
  async failWith(thrown: unknown): Promise<void> {
    const opened = this.#begin()
    if (!opened.writableEnded) {
      opened.addTrailers(trailersOf(thrown))
      opened.end()
    }
    await this.#answered
  }
}

/** What `awslambda.HttpResponseStream` is: a response with a status, headers and cookies of its own. */
const HttpResponseStream = {
  from(stream: ResponseStream, prelude: unknown): ResponseStream {
    stream.setPrelude(prelude)
    return stream
  },
}

/** Makes `awslambda` known to the handler's modules; before they are loaded. */
export const offerStreaming = (): void => {
  const given = globalThis as { awslambda?: object }
  given.awslambda = {
    ...given.awslambda,
    HttpResponseStream,
    streamifyResponse(handler: object, options?: { highWaterMark?: unknown }) {
      const highWaterMark = Number.parseInt(String(options?.highWaterMark), 10)
      return Object.assign(handler, {
        [STREAMING]: "response",
        ...(Number.isNaN(highWaterMark) ? {} : { [HIGH_WATER_MARK]: highWaterMark }),
      })
    },
  }
}

/** Whether a handler streams; throws when it says something else of itself. */
export const isStreaming = (handler: { [STREAMING]?: unknown }): boolean => {
  if (!handler[STREAMING]) return false
  if (handler[STREAMING] === "response") return true
  throw new RuntimeError("Runtime.MalformedStreamingHandler", "Only response streaming is supported.")
}

export const highWaterMarkOf = (handler: object): number | undefined => {
  const given = Number((handler as Record<symbol, unknown>)[HIGH_WATER_MARK])
  return given > 0 ? given : undefined
}
