import type { IncomingHttpHeaders } from "node:http"
import { AnswerError, parseFields } from "./fields.ts"

export interface ChunkReader {
  /** Takes the next bytes of the connection; how many of them were the body's. Throws an {@link AnswerError}. */
  take(bytes: Buffer): number
  /** What came behind the body, once it is whole. */
  readonly trailers: IncomingHttpHeaders | undefined
}

const SIZE_LINE = /^([0-9a-f]{1,12})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?$/i
const MAX_LINE_BYTES = 4096
const MAX_TRAILER_BYTES = 16_384
const LF = 0x0a

/** Reads a body in chunks, however the bytes come: RFC 9112, 7.1. */
export const createChunkReader = (onData: (bytes: Buffer) => void): ChunkReader => {
  let step: "size" | "data" | "end of data" | "trailers" = "size"
  let left = 0
  let begun = ""
  let trailerBytes = 0
  const trailerLines: string[] = []
  let trailers: IncomingHttpHeaders | undefined

  const takeLine = (line: string) => {
    if (step === "size") {
      const [, size] = SIZE_LINE.exec(line) ?? []
      if (size === undefined) throw new AnswerError("The application's answer has a chunk without a size")
      left = Number.parseInt(size, 16)
      step = left === 0 ? "trailers" : "data"
    } else if (step === "end of data") {
      if (line !== "") throw new AnswerError("The application's answer has a chunk of another size than it says")
      step = "size"
    } else if (line === "") trailers = parseFields(trailerLines)
    else {
      trailerBytes += line.length
      if (trailerBytes > MAX_TRAILER_BYTES) throw new AnswerError("The application's answer has too long trailers")
      trailerLines.push(line)
    }
  }

  return {
    take(bytes) {
      let at = 0
      while (at < bytes.length && trailers === undefined) {
        if (step === "data") {
          const data = bytes.subarray(at, at + left)
          at += data.length
          left -= data.length
          if (left === 0) step = "end of data"
          onData(data)
          continue
        }
        const end = bytes.indexOf(LF, at)
        begun += bytes.toString("latin1", at, end < 0 ? bytes.length : end)
        if (begun.length > MAX_LINE_BYTES) throw new AnswerError("The application's answer has too long a line")
        if (end < 0) return bytes.length
        at = end + 1
        if (!begun.endsWith("\r")) throw new AnswerError("The application's answer has a line without its end")
        const line = begun.slice(0, -1)
        begun = ""
        takeLine(line)
      }
      return at
    },
    get trailers() {
      return trailers
    },
  }
}
