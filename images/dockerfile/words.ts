/** Quoting and variables, as Docker's shell lexer has them. */
import { DockerfileError } from "./error.ts"

export type Variables = Readonly<Record<string, string>>

/** No instruction says more than this once its variables are replaced: a few lines that double each other would fill any memory. */
const MAX_EXPANDED_CHARACTERS = 256 * 1024
const tooLong = (line: number) =>
  new DockerfileError(line, `longer than ${MAX_EXPANDED_CHARACTERS} characters with its variables replaced`)
/** How deep `${a:-${b:-…}}` may go. */
const MAX_DEPTH = 20

interface Lexer {
  readonly variables: Variables
  readonly escape: string
  readonly line: number
  readonly depth: number
}

/**
 * Splits into words at blanks, with quotes and escapes undone and variables replaced: `$x`, `${x}`, `${x:-y}`, `${x-y}`, `${x:+y}`,
 * `${x+y}`, `${x:?y}`, `${x?y}`. Inside single quotes nothing is replaced; a variable that isn't set is empty; what a variable holds
 * is never split.
 */
export const toWords = (text: string, variables: Variables, escape: string, line: number): string[] =>
  lex(text, { variables, escape, line, depth: 0 }, true)

/** As {@link toWords}, as one word with its blanks: for instructions that take the rest of their line. */
export const expand = (text: string, variables: Variables, escape: string, line: number): string =>
  lex(text, { variables, escape, line, depth: 0 }, false)[0] ?? ""

/** As {@link expand}, for the texts of one instruction, in which quotes mean nothing. */
export const expandTexts = (texts: readonly string[], variables: Variables, escape: string, line: number): string[] => {
  let size = 0
  return texts.map((text) => {
    const [expanded = ""] = lex(text, { variables, escape, line, depth: 0 }, false, false)
    size += expanded.length
    if (size > MAX_EXPANDED_CHARACTERS) throw tooLong(line)
    return expanded
  })
}

const lex = (text: string, lexer: Lexer, splits: boolean, quotes = true): string[] => {
  const { escape, line } = lexer
  const words: string[] = []
  let word: string | undefined
  let quote = ""
  let size = 0
  const add = (piece: string) => {
    size += piece.length
    if (size > MAX_EXPANDED_CHARACTERS) throw tooLong(line)
    word = (word ?? "") + piece
  }
  for (let at = 0; at < text.length; at++) {
    const char = text[at] ?? ""
    if (quote === "'") {
      if (char === "'") quote = ""
      else add(char)
    } else if (char === escape && (quote === "" || ['"', "$", escape].includes(text[at + 1] ?? "")))
      add(text[++at] ?? "")
    else if (char === "$") {
      const { value, end } = variableAt(text, at, lexer)
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

const variableAt = (text: string, at: number, lexer: Lexer): { value: string; end: number } => {
  const { variables, line } = lexer
  // A name, or one of the shell's own: those are never set here.
  const plain = /^\$([A-Za-z_][A-Za-z0-9_]*|\d+|[@*#?$!-])/.exec(text.slice(at, at + 257))
  if (plain !== null) return { value: valueOf(variables, plain[1] ?? "") ?? "", end: at + plain[0].length }
  if (text[at + 1] !== "{") return { value: "$", end: at + 1 }
  const end = closingBrace(text, at + 2, lexer)
  const inner = text.slice(at + 2, end)
  const [, name, operator = "", word = ""] = /^([A-Za-z_][A-Za-z0-9_]*|\d+)(:?[-+?])?([^]*)$/.exec(inner) ?? []
  if (name === undefined || (operator === "" && word !== ""))
    throw new DockerfileError(line, `unsupported modifier in \${${inner.slice(0, 60)}}`)
  const value = valueOf(variables, name)
  const isSet = value !== undefined && !(operator.startsWith(":") && value === "")
  const alternative = () => {
    if (lexer.depth >= MAX_DEPTH) throw new DockerfileError(line, `variables are nested more than ${MAX_DEPTH} deep`)
    return lex(word, { ...lexer, depth: lexer.depth + 1 }, false)[0] ?? ""
  }
  if (operator.endsWith("?") && !isSet)
    throw new DockerfileError(line, `${name}: ${alternative() || "is not allowed to be unset"}`)
  const takesAlternative = operator.endsWith("+") ? isSet : operator.endsWith("-") && !isSet
  const otherwise = operator.endsWith("+") ? "" : (value ?? "")
  return { value: takesAlternative ? alternative() : otherwise, end: end + 1 }
}

const valueOf = (variables: Variables, name: string) => (Object.hasOwn(variables, name) ? variables[name] : undefined)

/** Where `${` ends: not at a brace that is quoted, escaped, or a nested variable's. */
const closingBrace = (text: string, from: number, { escape, line }: Lexer): number => {
  let depth = 1
  let quote = ""
  for (let at = from; at < text.length; at++) {
    const char = text[at]
    if (char === escape && quote !== "'") at++
    else if (quote !== "") quote = char === quote ? "" : quote
    else if (char === '"' || char === "'") quote = char
    else if (char === "}" && --depth === 0) return at
    else if (char === "{" && text[at - 1] === "$" && ++depth > MAX_DEPTH + 1)
      throw new DockerfileError(line, `variables are nested more than ${MAX_DEPTH} deep`)
  }
  throw new DockerfileError(line, "syntax error: missing '}'")
}

/** A JSON array of strings, or `undefined`: then the instruction has its shell form, as Docker decides. */
export const toExecForm = (text: string, line: number): string[] | undefined => {
  if (!text.startsWith("[")) return undefined
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (!Array.isArray(value)) return undefined
  return value.map((part: unknown) => {
    if (typeof part !== "string")
      throw new DockerfileError(line, "when using JSON array syntax, arrays must be comprised of strings only")
    if (part.includes("\0")) throw new DockerfileError(line, "an argument cannot hold a NUL character")
    return part.toWellFormed()
  })
}
