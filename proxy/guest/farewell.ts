/** The last word on a WebSocket that the edge ends itself: a close frame each way (RFC 6455, 5.5.1), where a frame may begin. */
import { randomBytes } from "node:crypto"
import type { Readable, Writable } from "node:stream"

/** Status 1001, going away: the other end may come back. */
const GOING_AWAY = Buffer.from([0x03, 0xe9])

/** What a server sends. */
export const closeFrame = (): Buffer => Buffer.concat([Buffer.from([0x88, GOING_AWAY.length]), GOING_AWAY])

/** What a client sends: masked, or the server would refuse it. */
export const maskedCloseFrame = (): Buffer => {
  const mask = randomBytes(4)
  const masked = GOING_AWAY.map((byte, index) => byte ^ (mask[index] ?? 0))
  return Buffer.concat([Buffer.from([0x88, 0x80 | GOING_AWAY.length]), mask, masked])
}

/**
 * Watches frames that are piped from one end to another; the function it returns ends them with a frame of ours, as soon as the one
 * that is under way is over.
 */
export const prepareFarewell = (from: Readable, to: Writable, frame: Buffer): (() => void) => {
  const frames = createFrames()
  const watch = (chunk: Buffer) => void frames.pass(chunk)
  from.on("data", watch)
  return () => {
    const end = () => void to.end(frame)
    from.off("data", watch).unpipe(to)
    if (frames.isBetween()) end()
    else
      from.on("data", function finish(chunk: Buffer) {
        const passed = frames.pass(chunk, true)
        to.write(chunk.subarray(0, passed))
        if (!frames.isBetween()) return
        from.off("data", finish)
        end()
      })
    // Whatever still comes is read and dropped, so that its sender gets to read our close frame.
    from.resume()
  }
}

interface Frames {
  /** Goes over bytes, all of them or up to the end of a frame; returns how many. */
  pass(chunk: Buffer, toBoundary?: boolean): number
  isBetween(): boolean
}

const MAX_HEADER = 14

/** Where frames begin and end in a stream of bytes: RFC 6455, 5.2. */
export const createFrames = (): Frames => {
  const header = Buffer.alloc(MAX_HEADER)
  let has = 0
  let payload = 0
  return {
    isBetween: () => has === 0 && payload === 0,
    pass(chunk, toBoundary = false) {
      let at = 0
      while (at < chunk.length) {
        if (payload > 0) {
          const part = Math.min(payload, chunk.length - at)
          payload -= part
          at += part
        } else {
          header[has++] = chunk[at++] ?? 0
          if (has < headerLength(header, has)) continue
          payload = payloadLength(header)
          has = 0
        }
        if (toBoundary && payload === 0) break
      }
      return at
    },
  }
}

/** How long a header is, as far as its first bytes tell. */
const headerLength = (header: Buffer, has: number): number => {
  if (has < 2) return 2
  const [second = 0] = header.subarray(1)
  const [length, masked] = [second & 0x7f, (second & 0x80) !== 0]
  return 2 + (length === 127 ? 8 : length === 126 ? 2 : 0) + (masked ? 4 : 0)
}

const payloadLength = (header: Buffer): number => {
  const length = (header[1] ?? 0) & 0x7f
  if (length === 126) return header.readUInt16BE(2)
  return length === 127 ? Number(header.readBigUInt64BE(2)) : length
}
