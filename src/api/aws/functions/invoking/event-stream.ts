/** `application/vnd.amazon.eventstream`: messages of headers and a payload, each in a frame with checksums. */
import { crc32 } from "node:zlib"

export const EVENT_STREAM = "application/vnd.amazon.eventstream"

/** Total length, length of the headers, and the checksum of both. */
const PRELUDE_BYTES = 12
const CHECKSUM_BYTES = 4
const STRING = 7

const toHeader = ([name, value]: [string, string]): Buffer => {
  const [nameBytes, valueBytes] = [Buffer.from(name), Buffer.from(value)]
  const head = Buffer.from([nameBytes.length, ...nameBytes, STRING, 0, 0])
  head.writeUInt16BE(valueBytes.length, head.length - 2)
  return Buffer.concat([head, valueBytes])
}

/** One event as a frame. */
export const toEventFrame = (eventType: string, contentType: string, payload: Buffer): Buffer => {
  const headers = Buffer.concat(
    Object.entries({ ":message-type": "event", ":event-type": eventType, ":content-type": contentType }).map(toHeader),
  )
  const frame = Buffer.alloc(PRELUDE_BYTES + headers.length + payload.length + CHECKSUM_BYTES)
  frame.writeUInt32BE(frame.length, 0)
  frame.writeUInt32BE(headers.length, 4)
  frame.writeUInt32BE(crc32(frame.subarray(0, 8)), 8)
  headers.copy(frame, PRELUDE_BYTES)
  payload.copy(frame, PRELUDE_BYTES + headers.length)
  frame.writeUInt32BE(crc32(frame.subarray(0, -CHECKSUM_BYTES)), frame.length - CHECKSUM_BYTES)
  return frame
}
