/** Quoting and variables, as Docker's shell lexer has them. */
import { DockerfileError } from "./error.ts"

export type Variables = Readonly<Record<string, string>>

/**
 * Splits into words at blanks, with quotes and escapes undone and variables replaced: `$x`, `${x}`, `${x:-y}`, `${x-y}`, `${x:+y}`,
 * `${x+y}`. Inside single quotes nothing is replaced; a variable that isn't set is empty.
 */
export const toWords = (text: string, variables: Variables, escape: string, line: number): string[] => {
  const words: string[] = []
  let word: string | undefined
  let quote = ""
  for (let at = 0; at < text.length; at++) {
    const char = text[at] ?? ""
    if (quote === "'") {
      if (char === "'") quote = ""
      else word += char
    } else if (char === escape && (quote === "" || '"$\\'.includes(text[at + 1] ?? ""))) {
      word = (word ?? "") + (text[++at] ?? "")
    } else if (char === "$") {
      const { value, end } = variableAt(text, at, variables, escape, line)
      word = (word ?? "") + value
      at = end - 1
    } else if (char === '"' || (char === "'" && quote === "")) {
      quote = quote === char ? "" : char
      word ??= ""
    } else if (/\s/.test(char) && quote === "") {
      if (word !== undefined) words.push(word)
      word = undefined
    } else word = (word ?? "") + char
  }
  if (quote !== "") throw new DockerfileError(line, `unexpected end of statement while looking for matching ${quote}`)
  if (word !== undefined) words.push(word)
  return words
}

/** As {@link toWords}, kept as one: for instructions that take the rest of their line. */
export const expand = (text: string, variables: Variables, escape: string, line: number): string =>
  text.split(/(\s+)/).length > 1
    ? toWords(text, variables, escape, line).join(" ")
    : (toWords(text, variables, escape, line)[0] ?? "")

const variableAt = (
  text: string,
  at: number,
  variables: Variables,
  escape: string,
  line: number,
): { value: string; end: number } => {
  const plain = /^\$([A-Za-z_][A-Za-z0-9_]*|\d)/.exec(text.slice(at, at + 257))
  if (plain !== null) return { value: variables[plain[1] ?? ""] ?? "", end: at + plain[0].length }
  if (text[at + 1] !== "{") return { value: "$", end: at + 1 }
  const end = closingBrace(text, at + 2, line)
  const [, name, operator = "", word = ""] =
    /^([A-Za-z_][A-Za-z0-9_]*|\d)(:?[-+?])?([^]*)$/.exec(text.slice(at + 2, end)) ?? []
  if (name === undefined || (operator === "" && word !== ""))
    throw new DockerfileError(line, `unsupported modifier in \${${text.slice(at + 2, end)}}`)
  const value = variables[name]
  const isSet = operator.startsWith(":") ? value !== undefined && value !== "" : value !== undefined
  const alternative = () => toWords(word, variables, escape, line).join(" ")
  const result = operator.endsWith("-")
    ? isSet
      ? value
      : alternative()
    : operator.endsWith("+")
      ? isSet
        ? alternative()
        : ""
      : operator.endsWith("?") && !isSet
        ? fail(line, `${name}: ${alternative() || "is not allowed to be unset"}`)
        : value
  return { value: result ?? "", end: end + 1 }
}

const closingBrace = (text: string, from: number, line: number): number => {
  let depth = 1
  for (let at = from; at < text.length; at++) {
    if (text[at] === "}" && --depth === 0) return at
    if (text[at] === "{" && text[at - 1] === "$") depth++
  }
  throw new DockerfileError(line, "missing } after ${")
}

const fail = (line: number, message: string): never => {
  throw new DockerfileError(line, message)
}

/** A JSON array of strings, or `undefined`: then the instruction has its shell form, as Docker decides. */
export const toExecForm = (text: string): string[] | undefined => {
  if (!text.startsWith("[")) return undefined
  try {
    const value: unknown = JSON.parse(text)
    return Array.isArray(value) && value.every((part) => typeof part === "string") ? value : undefined
  } catch {
    return undefined
  }
}
