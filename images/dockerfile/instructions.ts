/**
 * A Dockerfile's text as instructions: comments gone, continued lines joined, flags apart. (dockerfile-ast keeps comments inside
 * continued lines and splits quoted words, so the few lines this takes are ours.)
 */
import { DockerfileError } from "./error.ts"

export interface Instruction {
  readonly line: number
  /** In capitals. */
  readonly keyword: string
  /** `--name=value` before the arguments, in their order. */
  readonly flags: readonly { readonly name: string; readonly value: string }[]
  /** The rest, as written. */
  readonly rest: string
}

export interface DockerfileText {
  readonly escape: "\\" | "`"
  readonly instructions: readonly Instruction[]
}

export const MAX_DOCKERFILE_BYTES = 1024 * 1024
const MAX_INSTRUCTIONS = 1000

/** Splits a Dockerfile; throws {@link DockerfileError} on text that is none. */
export const splitInstructions = (text: string): DockerfileText => {
  const lines = text.replace(/^\uFEFF/, "").split(/\r?\n/)
  const escape = escapeDirective(lines)
  const instructions: Instruction[] = []
  for (let index = 0; index < lines.length; index++) {
    const first = lines[index] ?? ""
    if (isBlank(first)) continue
    const line = index + 1
    const parts: string[] = []
    for (let current = first; ; current = lines[++index] ?? "") {
      const continued = continuation(current, escape)
      parts.push(continued ?? current)
      if (continued === undefined) break
      // Comments and empty lines inside a continued instruction are skipped, not its end.
      while (index + 1 < lines.length && isBlank(lines[index + 1] ?? "")) index++
      if (index + 1 >= lines.length) break
    }
    instructions.push(toInstruction(line, parts.join("").trim()))
    if (instructions.length > MAX_INSTRUCTIONS)
      throw new DockerfileError(line, `more than ${MAX_INSTRUCTIONS} instructions`)
  }
  return { escape, instructions }
}

const isBlank = (line: string) => /^\s*(#|$)/.test(line)

/** The line without its continuation mark, or `undefined` when it has none. */
const continuation = (line: string, escape: string): string | undefined => {
  const trimmed = line.trimEnd()
  return trimmed.endsWith(escape) ? trimmed.slice(0, -1) : undefined
}

/** Directives are comments before anything else, even before an empty line. */
const escapeDirective = (lines: readonly string[]): "\\" | "`" => {
  for (const [index, line] of lines.entries()) {
    const [, name, value] = /^#\s*([A-Za-z]+)\s*=\s*(\S+)\s*$/.exec(line) ?? []
    if (name === undefined) break
    if (name.toLowerCase() !== "escape") continue
    if (value !== "\\" && value !== "`")
      throw new DockerfileError(index + 1, `invalid escape character '${value}': must be \\ or \``)
    return value
  }
  return "\\"
}

const toInstruction = (line: number, text: string): Instruction => {
  const [, keyword, behind = ""] = /^([A-Za-z]+)(?:\s+([^]*))?$/.exec(text) ?? []
  if (keyword === undefined) throw new DockerfileError(line, `cannot be read as an instruction: ${text.slice(0, 60)}`)
  const flags: { name: string; value: string }[] = []
  let rest = behind
  for (;;) {
    const [whole, name, value = ""] = /^--([a-z-]+)(?:=(\S*))?(?:\s+|$)/.exec(rest) ?? []
    if (whole === undefined || name === undefined) break
    flags.push({ name, value })
    rest = rest.slice(whole.length)
  }
  return { line, keyword: keyword.toUpperCase(), flags, rest: rest.trim() }
}
