/**
 * A Dockerfile's text as instructions: comments gone, continued lines joined, flags apart. (dockerfile-ast keeps comments inside
 * continued lines and splits quoted words, so the few lines this takes are ours.)
 */
import { DockerfileError } from "../error.ts"
import { toExecForm } from "./exec-form.ts"
import { splitFlags, type Flag } from "./flags.ts"
import { ends, openingOf, toRawWords, type Heredoc, type Opening } from "./heredoc.ts"
import { KEYWORDS } from "./keywords.ts"

export interface Instruction {
  readonly line: number
  /** In capitals. */
  readonly keyword: string
  readonly flags: readonly Flag[]
  /** The rest, as written. */
  readonly rest: string
  /** The texts behind it that its words open, in their order. */
  readonly heredocs: readonly Heredoc[]
}

export type Escape = "\\" | "`"

export interface DockerfileText {
  readonly escape: Escape
  readonly instructions: readonly Instruction[]
}

export const MAX_DOCKERFILE_BYTES = 1024 * 1024
const MAX_INSTRUCTIONS = 1000
/** Docker's own. */
const MAX_LINE_CHARACTERS = 65_535
const HEREDOC_KEYWORDS = new Set(["ADD", "COPY", "RUN"])

/** Splits a Dockerfile; throws {@link DockerfileError} on text that is none. Its directive says its escape character. */
export const splitInstructions = (text: string, defaultEscape: Escape = "\\"): DockerfileText => {
  if (text.length > MAX_DOCKERFILE_BYTES)
    throw new DockerfileError(1, `the Dockerfile is longer than ${MAX_DOCKERFILE_BYTES} characters`)
  const lines = text.replace(/^\uFEFF/, "").split(/\r?\n/)
  const long = lines.findIndex(({ length }) => length > MAX_LINE_CHARACTERS)
  if (long !== -1)
    throw new DockerfileError(long + 1, `dockerfile line greater than maximum allowed size of ${MAX_LINE_CHARACTERS}`)
  const nul = lines.findIndex((line) => line.includes("\0"))
  if (nul !== -1) throw new DockerfileError(nul + 1, "a NUL character")
  const escape = escapeDirective(lines) ?? defaultEscape
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
    const instruction = toInstruction(line, parts.join("").trim(), escape)
    const heredocs = openingsOf(instruction, escape).map((opening): Heredoc => {
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

/** Whatever mirror it comes from. */
const DOCKERS_SYNTAX = /(?:^|\/)docker\/dockerfile(?:-upstream)?(?:[:@]\S*)?$/

/** Directives are comments before anything else, even before another comment or an empty line; `escape` alone changes something here. */
const escapeDirective = (lines: readonly string[]): Escape | undefined => {
  let escape: Escape | undefined
  const seen = new Set<string>()
  for (const [index, line] of lines.entries()) {
    const [, written = "", value = ""] = /^\s*#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(\S[^]*)$/.exec(line) ?? []
    const name = written.toLowerCase()
    if (!DIRECTIVES.has(name)) break
    if (seen.has(name)) throw new DockerfileError(index + 1, `only one ${name} parser directive can be used`)
    seen.add(name)
    const mark = value.trim()
    if (name === "syntax" && !DOCKERS_SYNTAX.test(mark))
      throw new DockerfileError(
        index + 1,
        `the syntax '${mark.slice(0, 100)}' is not supported: a Dockerfile is read as docker/dockerfile does`,
      )
    if (name !== "escape") continue
    if (mark !== "\\" && mark !== "`")
      throw new DockerfileError(index + 1, `invalid escape character '${mark.slice(0, 20)}': must be \\ or \``)
    escape = mark
  }
  return escape
}

type Head = Omit<Instruction, "heredocs">

const openingsOf = ({ keyword, rest, line }: Head, escape: string): Opening[] => {
  // What ONBUILD keeps may open some.
  if (keyword === "ONBUILD" && HEREDOC_KEYWORDS.has(/^[a-z]*/i.exec(rest)?.[0].toUpperCase() ?? ""))
    return openingsOf(toInstruction(line, rest, escape), escape)
  return !HEREDOC_KEYWORDS.has(keyword) || toExecForm(rest, line) !== undefined
    ? []
    : toRawWords(rest).flatMap((word) => openingOf(word) ?? [])
}

const toInstruction = (line: number, text: string, escape: string): Head => {
  const [, keyword, behind = ""] = /^([A-Za-z]+)(?:\s+([^]*))?$/.exec(text) ?? []
  if (keyword === undefined) throw new DockerfileError(line, `cannot be read as an instruction: ${text.slice(0, 60)}`)
  if (!KEYWORDS.has(keyword.toUpperCase()))
    throw new DockerfileError(line, `unknown instruction: ${keyword.toUpperCase().slice(0, 60)}`)
  return { line, keyword: keyword.toUpperCase(), ...splitFlags(behind, escape, line) }
}
