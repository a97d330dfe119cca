/** What stands behind a `$`. */
import { DockerfileError } from "../error.ts"
import { parsePattern, replace, trimEnd, trimStart } from "./pattern.ts"
import type { Budget } from "./budget.ts"

export type Variables = Readonly<Record<string, string>>

/** How a text is read: what is known in it, where it stands, and what it may take. */
export interface Reading {
  readonly variables: Variables
  readonly escape: string
  readonly line: number
  readonly budget: Budget
  /** How many `${` it is in. */
  readonly depth: number
  /** Reads a text inside of this one; escapes may be kept, for a pattern. */
  readonly inner: (text: string, keepsEscapes: boolean) => string
}

/** How deep `${a:-${b:-…}}` may go. */
export const MAX_DEPTH = 20

/** The value of what begins at a `$`, and where it ends; `$` alone is itself. */
export const variableAt = (text: string, at: number, reading: Reading): { value: string; end: number } => {
  // A name, or one of the shell's own: those are never set here.
  const plain = /^\$([A-Za-z_][A-Za-z0-9_]*|\d+|[@*#?$!-])/.exec(text.slice(at, at + 257))
  if (plain !== null) return { value: valueOf(plain[1] ?? "", reading) ?? "", end: at + plain[0].length }
  if (text[at + 1] !== "{") return { value: "$", end: at + 1 }
  const end = closingBrace(text, at + 2, reading)
  return { value: modified(text.slice(at + 2, end), reading), end: end + 1 }
}

const valueOf = (name: string, { variables }: Reading) => (Object.hasOwn(variables, name) ? variables[name] : undefined)

/** What is between the braces. */
const modified = (inner: string, reading: Reading): string => {
  const { escape, line, depth, budget } = reading
  const fail = (message: string): never => {
    throw new DockerfileError(line, message)
  }
  const read = (text: string, keepsEscapes = false): string => {
    if (depth >= MAX_DEPTH) fail(`variables are nested more than ${MAX_DEPTH} deep`)
    return reading.inner(text, keepsEscapes)
  }
  const [, name = "", modifier = "", word = ""] =
    /^([A-Za-z_][A-Za-z0-9_]*|\d+)(:?[-+?]|##?|%%?|\/\/?)?([^]*)$/.exec(inner) ?? []
  if (name === "" || (modifier === "" && word !== "")) fail(`unsupported modifier in \${${inner.slice(0, 60)}}`)
  const value = valueOf(name, reading)
  const isSet = value !== undefined && !(modifier.startsWith(":") && value === "")
  switch (modifier.replace(":", "")) {
    case "-":
      return isSet ? value : read(word)
    case "+":
      return isSet ? read(word) : ""
    case "?":
      return isSet ? value : fail(`${name}: ${read(word) || "is not allowed to be unset"}`)
    case "#":
    case "##":
      return trimStart(value ?? "", parsePattern(read(word, true), escape), modifier === "##", budget)
    case "%":
    case "%%":
      return trimEnd(value ?? "", parsePattern(read(word, true), escape), modifier === "%%", budget)
    case "/":
    case "//": {
      const slash = slashIn(word, reading)
      if (slash === undefined) return fail(`syntax error: missing '/' in \${${inner.slice(0, 60)}}`)
      const pattern = parsePattern(read(word.slice(0, slash), true), escape)
      return replace(value ?? "", pattern, read(word.slice(slash + 1)), modifier === "//", budget)
    }
    default:
      return value ?? ""
  }
}

/** Where `${` ends: not at a brace that is quoted, escaped, or a nested variable's. */
const closingBrace = (text: string, from: number, { escape, line }: Reading): number => {
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

/** Where a pattern ends: not at a slash that is quoted, escaped, or a nested variable's. */
const slashIn = (text: string, reading: Reading): number | undefined => {
  let quote = ""
  for (let at = 0; at < text.length; at++) {
    const char = text[at]
    if (char === reading.escape && quote !== "'") at++
    else if (quote !== "") quote = char === quote ? "" : quote
    else if (char === '"' || char === "'") quote = char
    else if (char === "$" && text[at + 1] === "{") at = closingBrace(text, at + 2, reading)
    else if (char === "/") return at
  }
  return undefined
}
