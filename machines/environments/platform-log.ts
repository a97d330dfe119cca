/** What an environment's log gets beside its function's own words, and the end of what one event said. */
import type { LogStream } from "../../src/logs/entry.ts"
import { createLines, type Lines } from "../../src/logs/lines.ts"
import type { LogWriter } from "../../src/logs/writer.ts"
import { toPlatformLines, type PlatformEvent, type PlatformSubject } from "./platform-lines.ts"

export interface PlatformLog {
  /** The function says something; it is in the log already. */
  hear(stream: LogStream, text: string): void
  say(event: PlatformEvent): void
  /** Forgets what was said: an event begins. */
  begin(): void
  /** The last 4 KB of what was said since, in whole characters. */
  tail(): Buffer
}

const TAIL_BYTES = 4096

/** The log of one life of an environment's VM, beside its writer. */
export const createPlatformLog = (subject: PlatformSubject, words: Pick<LogWriter, "add">): PlatformLog => {
  let tail = Buffer.alloc(0)
  const streams = new Map<LogStream, Lines>()
  /** Those whose last line has no end yet. */
  const open = new Set<LogStream>()

  const keep = (line: string) => {
    tail = lastBytes(Buffer.concat([tail, Buffer.from(`${line}\n`)]))
  }
  return {
    hear(stream, text) {
      const lines = streams.get(stream) ?? createLines(keep)
      streams.set(stream, lines)
      lines.add(text)
      if (text.endsWith("\n")) open.delete(stream)
      else if (text !== "") open.add(stream)
    },
    say(event) {
      const said = toPlatformLines(subject, event, new Date())
      if (said.length === 0) return
      // What was said before it is before it, also where its line has no end.
      for (const stream of open) {
        words.add(stream, "\n")
        streams.get(stream)?.end()
      }
      open.clear()
      for (const line of said) {
        words.add("platform", `${line}\n`)
        keep(line)
      }
    },
    begin: () => void (tail = Buffer.alloc(0)),
    tail: () => tail,
  }
}

/** The end of a text, from the beginning of a character on. */
const lastBytes = (text: Buffer): Buffer<ArrayBuffer> => {
  let from = Math.max(0, text.length - TAIL_BYTES)
  while (from > 0 && ((text[from] ?? 0) & 0xc0) === 0x80) from++
  return Buffer.from(text.subarray(from))
}
