import type { IncomingHttpHeaders } from "node:http"
import { parseAnswerHead, type AnswerHead } from "./answer-head.ts"
import { createChunkReader, type ChunkReader } from "./chunks.ts"
import { AnswerError } from "./fields.ts"

/** What becomes of the answers on one connection. */
export interface AnswerEvents {
  onInformation(status: number, headers: IncomingHttpHeaders): void
  /** With the whole body, where it came with its head: no data follow then. */
  onHead(head: AnswerHead, whole: Buffer | undefined): void
  onData(bytes: Buffer): void
  onEnd(trailers: IncomingHttpHeaders, isPersistent: boolean): void
  /** The application changes protocols, as it was asked to; what came behind the head is the other protocol's already. */
  onUpgrade(head: AnswerHead, rest: Buffer): void
}

export interface AnswerReader {
  /** An answer to a request of this method is what comes next, or, to one that `asksForUpgrade`, another protocol. */
  expect(method: string, asksForUpgrade?: boolean): void
  /** Takes what came. Throws an {@link AnswerError}; nothing else on the connection is to be believed then. */
  take(bytes: Buffer): void
  /** Nothing more will come. Throws an {@link AnswerError} when that breaks an answer off. */
  close(): void
}

/** As much as Node's own client takes. */
const MAX_HEAD_BYTES = 16_384
const HEAD_END = Buffer.from("\r\n\r\n")
const EMPTY = Buffer.alloc(0)
const NO_TRAILERS: IncomingHttpHeaders = {}

/** Tells answers from each other on a connection; one at a time, none that wasn't asked for. */
export const createAnswerReader = (events: AnswerEvents): AnswerReader => {
  let step: "idle" | "head" | "length" | "chunks" | "close" = "idle"
  let method = ""
  let begun: Buffer = EMPTY
  let left = 0
  let chunks: ChunkReader | undefined
  let isPersistent = false
  let mayUpgrade = false

  const end = (trailers: IncomingHttpHeaders, rest: Buffer) => {
    step = "idle"
    chunks = undefined
    // What comes behind an answer would be taken for the next one's.
    events.onEnd(trailers, isPersistent && rest.length === 0)
  }

  /** Begins with the body; what of it came with the head isn't read yet. */
  const begin = (head: AnswerHead, rest: Buffer) => {
    isPersistent = head.isPersistent && head.framing !== "close"
    if (head.framing === "close") step = "close"
    else if (head.framing === "chunked") {
      step = "chunks"
      chunks = createChunkReader(events.onData)
    } else {
      step = "length"
      left = head.framing
      if (rest.length >= left) {
        events.onHead(head, rest.subarray(0, left))
        end(NO_TRAILERS, rest.subarray(left))
        return
      }
    }
    events.onHead(head, undefined)
    if (rest.length > 0) takeBody(rest)
  }

  const takeHead = (bytes: Buffer) => {
    const all = begun.length === 0 ? bytes : Buffer.concat([begun, bytes])
    const at = all.indexOf(HEAD_END, Math.max(0, begun.length - HEAD_END.length))
    if (at > MAX_HEAD_BYTES || (at < 0 && all.length > MAX_HEAD_BYTES))
      throw new AnswerError("The application's answer has too long a head")
    if (at < 0) {
      begun = all
      return
    }
    begun = EMPTY
    const head = parseAnswerHead(all.toString("latin1", 0, at), method)
    const rest = all.subarray(at + HEAD_END.length)
    if (head.status === 101) {
      if (!mayUpgrade || !/^websocket$/i.test(head.headers.upgrade ?? ""))
        throw new AnswerError("The application changed protocols without being asked to")
      step = "idle"
      events.onUpgrade(head, rest)
    } else if (head.status >= 200 || head.status < 100) begin(head, rest)
    else {
      events.onInformation(head.status, head.headers)
      if (rest.length > 0) take(rest)
    }
  }

  const takeBody = (bytes: Buffer) => {
    if (step === "close") events.onData(bytes)
    else if (chunks !== undefined) {
      const taken = chunks.take(bytes)
      if (chunks.trailers !== undefined) end(chunks.trailers, bytes.subarray(taken))
    } else {
      const data = bytes.subarray(0, left)
      left -= data.length
      events.onData(data)
      if (left === 0) end(NO_TRAILERS, bytes.subarray(data.length))
    }
  }

  const take = (bytes: Buffer): void => {
    if (step === "idle") throw new AnswerError("The application spoke unasked")
    if (step === "head") takeHead(bytes)
    else takeBody(bytes)
  }

  return {
    expect(next, asksForUpgrade = false) {
      step = "head"
      method = next
      mayUpgrade = asksForUpgrade
    },
    take,
    close() {
      if (step === "close") end(NO_TRAILERS, EMPTY)
      else if (step !== "idle") throw new AnswerError("The application broke off its answer")
    },
  }
}
