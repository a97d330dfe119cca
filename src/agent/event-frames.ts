/**
 * A function's events on their way to a guest, and their answers back, on a connection that carries nothing else. The host's frames are events, each
 * when the answer before it has settled. The guest's, in this order: `head` (unless it failed without a response), `data`, then `done` or
 * `failure`, then `settled` when the environment may be frozen. Bytes, and neither headers nor JSON, since a failure may be as long as a
 * response, and be found behind its last byte.
 */
import { HEAD_BYTES, toFrame, toUInt32 } from "./frames.ts"

export const FRAME_KINDS = ["head", "data", "done", "failure", "settled"] as const
export type FrameKind = (typeof FRAME_KINDS)[number]

export interface AnswerFrame {
  readonly kind: FrameKind
  readonly content: Buffer
}

/** The longest content: a response that isn't streamed, or a failure and its name. */
const MAX_BYTES = 6_291_556 + 256
/** Of what is said of an event. */
const LENGTH_BYTES = 4

export const toAnswerFrame = (kind: FrameKind, content: Buffer = Buffer.alloc(0)): Buffer =>
  toFrame(FRAME_KINDS.indexOf(kind), content)

/** The one kind that the host sends. */
export const EVENT_KIND = 128

/** An event: what is known of it, as JSON, and its payload. */
export const toEventFrame = (words: string, payload: Buffer): Buffer => {
  const about = Buffer.from(words)
  return toFrame(EVENT_KIND, toUInt32(about.length), about, payload)
}

/** Takes a host's frame apart, which is trusted. */
export const parseEventContent = (content: Buffer): [words: string, payload: Buffer] => {
  const end = LENGTH_BYTES + content.readUInt32BE()
  return [content.toString("utf8", LENGTH_BYTES, end), content.subarray(end)]
}

/** The frames in a stream of bytes that a guest has sent; throws on one that is none, or that is too long. What is cut off at the end is dropped. */
export async function* framesOf(bytes: AsyncIterable<Buffer>): AsyncGenerator<AnswerFrame> {
  const pieces: Buffer[] = []
  let held = 0
  let needed = HEAD_BYTES
  for await (const piece of bytes) {
    pieces.push(piece)
    held += piece.length
    // Joined only when a frame is whole: many small pieces of a large one would be copied again and again.
    while (held >= needed) {
      const all = pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces)
      const kind = FRAME_KINDS[all.readUInt8()]
      const end = HEAD_BYTES + all.readUInt32BE(1)
      if (kind === undefined) throw new Error("The guest's answer is malformed")
      if (end > HEAD_BYTES + MAX_BYTES) throw new Error("The guest's answer is too large")
      const rest = held >= end ? all.subarray(end) : all
      pieces.splice(0, pieces.length, ...(rest.length > 0 ? [rest] : []))
      if (held >= end) yield { kind, content: all.subarray(HEAD_BYTES, end) }
      needed = held >= end ? HEAD_BYTES : end
      held = rest.length
    }
  }
}

/** A failure's content: its name's length, its name, and what callers of the function are given. */
export const toFailureContent = (errorType: string, body: Buffer): Buffer => {
  const name = Buffer.from(errorType).subarray(0, 255)
  return Buffer.concat([Buffer.of(name.length), name, body])
}

export const parseFailureContent = (content: Buffer): { readonly errorType: string; readonly body: Buffer } => {
  const end = 1 + (content[0] ?? 0)
  return { errorType: content.toString("utf8", 1, end), body: content.subarray(end) }
}
