import { parseArgs } from "node:util"
import type { Command, Option } from "./commands.ts"
import { nearest } from "./nearest.ts"

/** A command line that says nothing we know: one sentence, and exit code 2. Nothing has happened. */
export class UsageError extends Error {
  override readonly name = "UsageError"
}

export type Invocation =
  | { readonly kind: "help"; readonly command?: string }
  | { readonly kind: "version" }
  | ({ readonly kind: "run"; readonly command: string } & Words)

interface Words {
  readonly options: ReadonlyMap<string, readonly string[]>
  readonly args: Readonly<Record<string, string>>
}

type Commands = Readonly<Record<string, Command>>
type Grammar = Pick<Command, "args" | "options">

const HELP: Option = { what: "print this", short: "h" }
const BY_ITSELF: Grammar = { options: { help: HELP, version: { what: "print the version" } } }

/** What a command line asks for, checked against the table; throws a {@link UsageError} that names the first word that is wrong. */
export const parseInvocation = (args: readonly string[], commands: Commands): Invocation => {
  const [first = "--help", ...rest] = args
  if (first.startsWith("-")) {
    const { options } = readWords("torpor", args, BY_ITSELF)
    return options.has("version") && !options.has("help") ? { kind: "version" } : { kind: "help" }
  }
  if (first === "help") {
    const words = rest.filter((word) => word !== "--help" && word !== "-h")
    if (words.length === 0) return { kind: "help" }
    const { name, rest: more } = find(words, commands)
    readWords("torpor help COMMAND", more, { options: {} })
    return { kind: "help", command: name }
  }
  // Anywhere on the line: nobody who asks what a command does wants it done.
  const asks = rest.some((word) => word === "--help" || word === "-h")
  const { name, command, rest: more } = find(args, commands, asks)
  if (command === undefined) return { kind: "help", command: name }
  const words = readWords(`torpor ${name}`, more, { ...command, options: { ...command.options, help: HELP } }, asks)
  return words.options.has("help") ? { kind: "help", command: name } : { kind: "run", command: name, ...words }
}

/** The command that a line begins with, of one word or of two; the first of two alone is a group, which there is help on. */
const find = (
  [first = "", second = "", ...rest]: readonly string[],
  commands: Commands,
  asksForGroup = true,
): { name: string; command?: Command; rest: readonly string[] } => {
  const get = (name: string) => (Object.hasOwn(commands, name) ? commands[name] : undefined)
  const [one, two] = [get(first), get(`${first} ${second}`)]
  if (two !== undefined) return { name: `${first} ${second}`, command: two, rest }
  if (one !== undefined) return { name: first, command: one, rest: second === "" ? rest : [second, ...rest] }
  const group = Object.fromEntries(
    Object.keys(commands).flatMap((name) =>
      name.startsWith(`${first} `) ? [[name.slice(first.length + 1), name]] : [],
    ),
  )
  const names = Object.keys(group)
  if (names.length === 0) throw new UsageError(noCommand(first, commands))
  if (second === "" || second.startsWith("-")) {
    if (asksForGroup) return { name: first, rest }
    throw new UsageError(
      `\`torpor ${first}\` is not whole without ${names.map((name) => `'${name}'`).join(" or ")}: see \`torpor ${first} --help\`.`,
    )
  }
  throw new UsageError(refusal(`There is no command '${first} ${second}'`, second, group, `torpor ${first}`))
}

/** `ls` alone is taken for the end of `functions ls`. */
const noCommand = (word: string, commands: Commands): string => {
  const whole = Object.keys(commands).find((name) => name.endsWith(` ${word}`))
  const what = `There is no command '${word}'`
  return whole === undefined
    ? refusal(what, word, commands, "torpor")
    : `${what}: did you mean '${whole}'? See \`torpor --help\`.`
}

/** The options and arguments of a command; when only help is asked for, nothing that is missing is missed. */
const readWords = (
  program: string,
  args: readonly string[],
  { args: wanted = {}, options: declared }: Grammar,
  asks = false,
): Words => {
  const longOf = Object.fromEntries(
    Object.entries(declared).flatMap(([name, { short }]) => (short === undefined ? [] : [[short, name]])),
  )
  const names = Object.keys(wanted)
  const given: Record<string, string> = {}
  const options = new Map<string, string[]>()
  const { tokens } = parseArgs({
    args: [...args],
    strict: false,
    allowPositionals: true,
    tokens: true,
    options: Object.fromEntries(
      Object.entries(declared).map(([name, { value, short }]) => [
        name,
        { type: value === undefined ? "boolean" : "string", ...(short === undefined ? {} : { short }) },
      ]),
    ),
  })
  for (const token of tokens) {
    if (token.kind === "option-terminator") continue
    if (token.kind === "positional") {
      const name = names[Object.keys(given).length]
      if (name === undefined)
        throw new UsageError(`\`${program}\` takes no argument '${token.value}': see \`${helpOf(program)}\`.`)
      given[name] = token.value
      continue
    }
    const name = longOf[token.name] ?? token.name
    const option = Object.hasOwn(declared, name) ? declared[name] : undefined
    if (option === undefined)
      throw new UsageError(refusal(`\`${program}\` has no option '${token.rawName}'`, name, declared, program, "--"))
    if (option.value === undefined && token.value !== undefined)
      throw new UsageError(`'${token.rawName}' of \`${program}\` takes no value: see \`${helpOf(program)}\`.`)
    if (option.value !== undefined && token.value === undefined && !asks)
      throw new UsageError(
        `'${token.rawName}' of \`${program}\` wants a value, ${option.value}: see \`${helpOf(program)}\`.`,
      )
    const before = options.get(name)
    if (before !== undefined && option.value !== undefined && option.many !== true)
      throw new UsageError(`'${token.rawName}' of \`${program}\` is there twice: see \`${helpOf(program)}\`.`)
    options.set(name, [...(before ?? []), ...(token.value === undefined ? [] : [token.value])])
  }
  const missing = names.find((name) => wanted[name]?.required === true && given[name] === undefined)
  if (missing !== undefined && !asks)
    throw new UsageError(`\`${program}\` wants ${missing}: see \`${helpOf(program)}\`.`)
  return { options, args: given }
}

const helpOf = (program: string) => `${program.startsWith("torpor help") ? "torpor" : program} --help`

const refusal = (
  what: string,
  word: string,
  table: Readonly<Record<string, unknown>>,
  program: string,
  dashes = "",
): string => {
  const suggestion = nearest(word, Object.keys(table))
  return suggestion === undefined
    ? `${what}: see \`${helpOf(program)}\`.`
    : `${what}: did you mean '${dashes}${suggestion}'? See \`${helpOf(program)}\`.`
}
