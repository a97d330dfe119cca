import { parseArgs } from "node:util"
import type { Command } from "./commands.ts"
import { nearest } from "./nearest.ts"

/** A command line that says nothing we know: one sentence, and exit code 2. Nothing has happened. */
export class UsageError extends Error {
  override readonly name = "UsageError"
}

export type Invocation =
  | { readonly kind: "help"; readonly command?: string }
  | { readonly kind: "version" }
  | { readonly kind: "run"; readonly command: string; readonly options: ReadonlySet<string> }

const SHORT: Readonly<Record<string, string>> = { h: "help" }
const BY_ITSELF: Readonly<Record<string, string>> = { help: "", version: "" }

/** What a command line asks for, checked against the table; throws a {@link UsageError} that names the first word that is wrong. */
export const parseInvocation = (args: readonly string[], commands: Readonly<Record<string, Command>>): Invocation => {
  const [first = "--help", ...rest] = args
  if (first.startsWith("-")) {
    const options = readOptions("torpor", args, BY_ITSELF)
    return options.has("version") && !options.has("help") ? { kind: "version" } : { kind: "help" }
  }
  if (first === "help") {
    const [command, ...more] = rest.filter((word) => word !== "--help" && word !== "-h")
    if (command === undefined) return { kind: "help" }
    readOptions("torpor help COMMAND", more, {})
    return { kind: "help", command: known(command, commands)[0] }
  }
  const [command, { options: declared }] = known(first, commands)
  const options = readOptions(`torpor ${command}`, rest, { ...declared, help: "" })
  // Anywhere on the line: nobody who asks what a command does wants it done.
  return options.has("help") ? { kind: "help", command } : { kind: "run", command, options }
}

const known = (name: string, commands: Readonly<Record<string, Command>>): [string, Command] => {
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (command === undefined) throw new UsageError(refusal(`There is no command '${name}'`, name, commands, "torpor"))
  return [name, command]
}

/** The names of the options given. None of ours takes a value, and no command takes anything but options. */
const readOptions = (
  program: string,
  args: readonly string[],
  declared: Readonly<Record<string, string>>,
): Set<string> => {
  const given = new Set<string>()
  const { tokens } = parseArgs({ args: [...args], strict: false, allowPositionals: true, tokens: true })
  for (const token of tokens) {
    if (token.kind === "option-terminator") continue
    if (token.kind === "positional")
      throw new UsageError(`\`${program}\` takes no argument '${token.value}': see \`${helpOf(program)}\`.`)
    const name = SHORT[token.name] ?? token.name
    if (!Object.hasOwn(declared, name))
      throw new UsageError(refusal(`\`${program}\` has no option '${token.rawName}'`, name, declared, program, "--"))
    if (token.value !== undefined)
      throw new UsageError(`'${token.rawName}' of \`${program}\` takes no value: see \`${helpOf(program)}\`.`)
    given.add(name)
  }
  return given
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
