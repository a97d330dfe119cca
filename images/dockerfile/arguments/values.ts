/** How the instructions' arguments are read, once they are apart. */
import { constants } from "node:os"
import { DockerfileError } from "../error.ts"
import type { Instruction } from "../text/instructions.ts"
import { toRawWords } from "../text/heredoc.ts"
import type { Variables } from "../text/variable.ts"
import type { Lexer } from "../text/words.ts"

/** ENV's and LABEL's `name=value …`, or their old form: a name, blanks, and the rest of the line. */
export const toPairs = (
  { rest, line, keyword }: Instruction,
  variables: Variables,
  lexer: Lexer,
): [name: string, value: string][] => {
  const [first = ""] = toRawWords(rest)
  if (!first.includes("=")) {
    const value = rest.slice(first.length).trim()
    if (value === "") throw new DockerfileError(line, `${keyword} must have two arguments`)
    return [[lexer.expand(first, variables, line), lexer.expand(value, variables, line)]]
  }
  return lexer.words(rest, variables, line).map((word) => {
    const [name, value] = splitAtEquals(word)
    if (value === undefined)
      throw new DockerfileError(
        line,
        `Syntax error - can't find = in "${word.slice(0, 60)}". Must be of the form: name=value`,
      )
    if (name === "") throw new DockerfileError(line, `${keyword} names can not be blank`)
    return [name, value]
  })
}

/** `name` or `name=value`. */
export const splitAtEquals = (text: string): [string, string | undefined] => {
  const at = text.indexOf("=")
  return at === -1 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)]
}

/** EXPOSE's `port[-port][/protocol]` as its range of TCP ports, empty for another protocol. */
export const parsePorts = (word: string, line: number): { from: number; to: number } | undefined => {
  const [, first, last, protocol = "tcp"] = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/i.exec(word) ?? []
  const [from, to] = [Number(first), Number(last ?? first)]
  if (first === undefined || from < 1 || to > 65535 || to < from)
    throw new DockerfileError(line, `invalid containerPort: ${word.slice(0, 60)}`)
  return protocol.toLowerCase() === "tcp" ? { from, to } : undefined
}

/** A path as seen from a directory, `..` undone; it keeps a slash at its end when what was written names a directory. */
export const absolutePath = (path: string, from: string): string => {
  const parts: string[] = []
  for (const part of (path.startsWith("/") ? path : `${from}/${path}`).split("/")) {
    if (part === "..") parts.pop()
    else if (part !== "" && part !== ".") parts.push(part)
  }
  const joined = `/${parts.join("/")}`
  return /(^|\/)\.{0,2}$/.test(path) && joined !== "/" ? `${joined}/` : joined
}

/** A signal's name, with or without SIG, or its number, as STOPSIGNAL takes them. */
export const isSignal = (text: string): boolean => {
  if (/^\d+$/.test(text)) return Number(text) >= 1 && Number(text) <= 64
  const name = text.toUpperCase().replace(/^SIG/, "")
  return (
    Object.hasOwn(constants.signals, `SIG${name}`) || /^RTM(?:IN(?:\+(?:\d|1[0-5]))?|AX(?:-(?:\d|1[0-4]))?)$/.test(name)
  )
}
