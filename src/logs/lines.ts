import { wordsOf } from "../words.ts"

/** The longest line of a log; what is longer is several. */
const MAX_LINE_CHARACTERS = 16 * 1024
const SHOWN_CHARACTERS = 300

export interface Lines {
  /** The last line that said something, fit for a reason. */
  readonly last: string
  add(text: string): void
  /** What has no end yet is a line. */
  end(): void
}

/** Lines out of pieces of text, wherever those were cut. */
export const createLines = (onLine: (line: string) => void, maxCharacters = MAX_LINE_CHARACTERS): Lines => {
  let pending = ""
  let last = ""

  const take = (line: string) => {
    if (line.trim() !== "") last = wordsOf(line.trim(), SHOWN_CHARACTERS)
    onLine(line)
  }
  /** All but the rest of it, which is shorter than a line may be. */
  const cut = (text: string): string => {
    let from = 0
    for (; text.length - from > maxCharacters; from += maxCharacters) take(text.slice(from, from + maxCharacters))
    return text.slice(from)
  }

  return {
    get last() {
      return last
    },
    add(text) {
      const parts = (pending + text).split("\n")
      const rest = parts.pop() ?? ""
      for (const part of parts) take(cut(part.endsWith("\r") ? part.slice(0, -1) : part))
      pending = cut(rest)
    },
    end() {
      if (pending !== "") take(pending)
      pending = ""
    },
  }
}
