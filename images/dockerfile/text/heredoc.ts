/**
 * Heredocs of RUN and COPY. A word of the instruction opens one: `<<EOF`, `<<-"EOF"` or `3<<EOF`, outside of quotes; `1 << 2`,
 * `$((1<<2))` and the shell's `<<<` open none. Source: https://docs.docker.com/reference/dockerfile/#here-documents
 */
export interface Opening {
  /** What the line that ends it says. */
  readonly name: string
  /** `<<-`: tabs at the beginning of its lines don't count. */
  readonly chomps: boolean
  /** Its name has no quotes: COPY replaces variables in it. */
  readonly expands: boolean
}

export interface Heredoc extends Opening {
  /** Its lines, each with its end, as written. */
  readonly body: string
}

/** A text's words at its blanks, quotes and escapes left as they are; an open quote goes on to the end. */
export const toRawWords = (text: string): string[] => {
  const words: string[] = []
  let word = ""
  let quote = ""
  for (let at = 0; at < text.length; at++) {
    const char = text[at] ?? ""
    if (quote === "" && /\s/.test(char)) {
      if (word !== "") words.push(word)
      word = ""
      continue
    }
    word += char
    if (char === "\\" && quote !== "'") word += text[++at] ?? ""
    else if (quote === "" && (char === '"' || char === "'")) quote = char
    else if (char === quote) quote = ""
  }
  if (word !== "") words.push(word)
  return words
}

/** The heredoc that a word of {@link toRawWords} opens. */
export const openingOf = (word: string): Opening | undefined => {
  const [, dash, written = ""] = /^\d{0,10}<<(-?)([^<]+)$/s.exec(word) ?? []
  const name = unquoted(written)
  return dash === undefined || name === undefined || name === ""
    ? undefined
    : { name, chomps: dash === "-", expands: name === written }
}

/** `undefined` when a quote is left open. */
const unquoted = (word: string): string | undefined => {
  const pieces = word.replaceAll(/'([^']*)'|"((?:\\.|[^"\\])*)"|\\(.)/gs, (_, single, double, escaped) =>
    [single, double, escaped].find((piece) => piece !== undefined),
  )
  return /["']/.test(word.replaceAll(/'[^']*'|"(?:\\.|[^"\\])*"|\\./gs, "")) ? undefined : pieces
}

/** Its text without the tabs that don't count. */
export const contentOf = ({ body, chomps }: Heredoc): string => (chomps ? body.replaceAll(/^\t+/gm, "") : body)

/** Whether a line ends it. */
export const ends = ({ name, chomps }: Opening, line: string): boolean =>
  (chomps ? line.replace(/^\t+/, "") : line) === name
