/** Quoting and variables, as Docker's shell lexer has them. Source: https://docs.docker.com/reference/dockerfile/#environment-replacement */
import { DockerfileError } from "../error.ts"
import { createBudgets, type Budget } from "./budget.ts"
import type { Escape } from "./instructions.ts"
import { variableAt, type Reading, type Variables } from "./variable.ts"

/** Reads the texts of one Dockerfile: all of them together have a budget. */
export interface Lexer {
  readonly escape: Escape
  /**
   * Splits into words at blanks, with quotes and escapes undone and variables replaced: `$x`, `${x}`, `${x:-y}`, `${x-y}`, `${x:+y}`,
   * `${x+y}`, `${x:?y}`, `${x?y}`, `${x#y}`, `${x##y}`, `${x%y}`, `${x%%y}`, `${x/y/z}`, `${x//y/z}`. Inside single quotes nothing is
   * replaced; a variable that isn't set is empty; what a variable holds is never split.
   */
  words(text: string, variables: Variables, line: number): string[]
  /** As `words`, as one word with its blanks: for instructions that take the rest of their line. */
  expand(text: string, variables: Variables, line: number): string
  /** As `expand`, for the texts of one instruction, in which quotes mean nothing. */
  expandTexts(texts: readonly string[], variables: Variables, line: number): string[]
}

/** A lexer for a Dockerfile with this escape character. */
export const createLexer = (escape: Escape): Lexer => {
  const budgets = createBudgets()
  return {
    escape,
    words: (text, variables, line) =>
      lex(text, { ...PLAIN, splits: true }, toReading(variables, escape, line, budgets.of(line))),
    expand: (text, variables, line) => lex(text, PLAIN, toReading(variables, escape, line, budgets.of(line)))[0] ?? "",
    expandTexts(texts, variables, line) {
      const reading = toReading(variables, escape, line, budgets.of(line))
      return texts.map((text) => lex(text, { ...PLAIN, quotes: false }, reading)[0] ?? "")
    },
  }
}

interface Style {
  readonly splits: boolean
  readonly quotes: boolean
  readonly keepsEscapes: boolean
}

const PLAIN: Style = { splits: false, quotes: true, keepsEscapes: false }

const toReading = (variables: Variables, escape: string, line: number, budget: Budget, depth = 0): Reading => ({
  variables,
  escape,
  line,
  budget,
  depth,
  inner: (text, keepsEscapes) =>
    lex(text, { ...PLAIN, keepsEscapes }, toReading(variables, escape, line, budget, depth + 1))[0] ?? "",
})

const lex = (text: string, { splits, quotes, keepsEscapes }: Style, reading: Reading): string[] => {
  const { escape, line, budget } = reading
  const words: string[] = []
  let word: string | undefined
  let quote = ""
  const add = (piece: string) => {
    budget.grow(piece.length)
    word = (word ?? "") + piece
  }
  for (let at = 0; at < text.length; at++) {
    const char = text[at] ?? ""
    if (quote === "'") {
      if (char === "'") quote = ""
      else add(char)
    } else if (char === escape && (quote === "" || ['"', "$", escape].includes(text[at + 1] ?? "")))
      add((keepsEscapes ? escape : "") + (text[++at] ?? ""))
    else if (char === "$") {
      const { value, end } = variableAt(text, at, reading)
      add(value)
      at = end - 1
    } else if (quotes && (char === '"' || (char === "'" && quote === ""))) {
      quote = quote === char ? "" : char
      word ??= ""
    } else if (splits && quote === "" && /\s/.test(char)) {
      if (word !== undefined) words.push(word)
      word = undefined
    } else add(char)
  }
  if (quote !== "") throw new DockerfileError(line, `unexpected end of statement while looking for matching ${quote}`)
  if (word !== undefined) words.push(word)
  return words
}
