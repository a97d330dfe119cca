/**
 * A Dockerfile's text as instructions: comments gone, continued lines joined, flags apart. (dockerfile-ast keeps comments inside
 * continued lines and splits quoted words, so the few lines this takes are ours.)
 */
import { DockerfileError } from "./error.ts"
import { ends, openingOf, toRawWords, type Heredoc, type Opening } from "./heredoc.ts"
import { toExecForm } from "./words.ts"

export interface Instruction {
  readonly line: number
  /** In capitals. */
  readonly keyword: string
  /** `--name=value` before the arguments, in their order. */
  readonly flags: readonly { readonly name: string; readonly value: string }[]
  /** The rest, as written. */
  readonly rest: string
  /** The texts behind it that its words open, in their order. */
  readonly heredocs: readonly Heredoc[]
}

export interface DockerfileText {
  readonly escape: "\\" | "`"
  readonly instructions: readonly Instruction[]
}

export const MAX_DOCKERFILE_BYTES = 1024 * 1024
const MAX_INSTRUCTIONS = 1000
const MAX_FLAGS = 100
const HEREDOC_KEYWORDS = new Set(["ADD", "COPY", "RUN"])

/** Splits a Dockerfile; throws {@link DockerfileError} on text that is none. */
export const splitInstructions = (text: string): DockerfileText => {
  const lines = text.replace(/^\uFEFF/, "").split(/\r?\n/)
  const nul = lines.findIndex((line) => line.includes("\0"))
  if (nul !== -1) throw new DockerfileError(nul + 1, "a NUL character")
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
    const instruction = toInstruction(line, parts.join("").trim())
    const heredocs = openingsOf(instruction).map((opening): Heredoc => {
      const from = index + 1
      for (index++; index < lines.length; index++) {
        if (!ends(opening, lines[index] ?? "")) continue
        return { ...opening, body: lines.slice(from, index).concat("").join("\n") }
      }
      throw new DockerfileError(line, `unterminated heredoc: no line says ${opening.name.slice(0, 60)}`)
    })
    instructions.push({ ...instruction, heredocs })
    if (instructions.length > MAX_INSTRUCTIONS)
      throw new DockerfileError(line, `more than ${MAX_INSTRUCTIONS} instructions`)
  }
  return { escape, instructions }
}

const isBlank = (line: string) => /^\s*(#|$)/.test(line)

/** The line without its continuation mark, or `undefined` when it has none; a doubled mark is none. */
const continuation = (line: string, escape: string): string | undefined => {
  const trimmed = line.replace(/[ \t]+$/, "")
  return trimmed.endsWith(escape) && trimmed.at(-2) !== escape ? trimmed.slice(0, -1) : undefined
}

const DIRECTIVES = new Set(["check", "escape", "syntax"])

/** Directives are comments before anything else, even before another comment or an empty line; `escape` alone means something here. */
const escapeDirective = (lines: readonly string[]): "\\" | "`" => {
  let escape: "\\" | "`" = "\\"
  const seen = new Set<string>()
  for (const [index, line] of lines.entries()) {
    const [, written = "", value = ""] = /^\s*#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(\S[^]*)$/.exec(line) ?? []
    const name = written.toLowerCase()
    if (!DIRECTIVES.has(name)) break
    if (seen.has(name)) throw new DockerfileError(index + 1, `only one ${name} parser directive can be used`)
    seen.add(name)
    if (name !== "escape") continue
    const mark = value.trim()
    if (mark !== "\\" && mark !== "`")
      throw new DockerfileError(index + 1, `invalid escape character '${mark.slice(0, 20)}': must be \\ or \``)
    escape = mark
  }
  return escape
}

const openingsOf = ({ keyword, rest, line }: Omit<Instruction, "heredocs">): Opening[] =>
  !HEREDOC_KEYWORDS.has(keyword) || toExecForm(rest, line) !== undefined
    ? []
    : toRawWords(rest).flatMap((word) => openingOf(word) ?? [])

const toInstruction = (line: number, text: string): Omit<Instruction, "heredocs"> => {
  const [, keyword, behind = ""] = /^([A-Za-z]+)(?:\s+([^]*))?$/.exec(text) ?? []
  if (keyword === undefined) throw new DockerfileError(line, `cannot be read as an instruction: ${text.slice(0, 60)}`)
  const flags: { name: string; value: string }[] = []
  let rest = behind
  for (;;) {
    const [whole, name, value = ""] = /^--([^\s=]*)(?:=(\S*))?(?:\s+|$)/.exec(rest) ?? []
    if (whole === undefined || name === undefined) break
    rest = rest.slice(whole.length)
    // Two dashes alone end the flags.
    if (name === "") break
    if (flags.length === MAX_FLAGS) throw new DockerfileError(line, `more than ${MAX_FLAGS} flags`)
    flags.push({ name, value })
  }
  return { line, keyword: keyword.toUpperCase(), flags, rest: rest.trim() }
}
