import { readFile } from "node:fs/promises"
import type { Command, Option } from "./commands.ts"

const table = (rows: readonly (readonly [string, string])[]): string => {
  const width = Math.max(...rows.map(([left]) => left.length))
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`).join("\n")
}

/** What `torpor --help` prints: every command, a line each. */
export const overview = (commands: Readonly<Record<string, Command>>): string =>
  `torpor: a real virtual machine for every user, job or AI agent

Usage: torpor COMMAND [OPTION]…

Commands:
${table(Object.entries(commands).map(([name, { summary }]) => [name, summary]))}

Options:
${table([
  ["-h, --help", "print this; after a command, what that command does"],
  ["    --version", "print the version"],
])}

Settings come from the environment (TORPOR_DATA_DIR, TORPOR_API_PORT, TORPOR_EDGE_PORT, …) and from
the file named by TORPOR_CONFIG; the README lists them.
Exit codes: 0 done, 1 failed, 2 not understood, 130 stopped by a signal.
`

/** What `torpor COMMAND --help` prints, and `torpor GROUP --help` of commands of two words. */
export const helpOf = (name: string, commands: Readonly<Record<string, Command>>): string => {
  const command = commands[name]
  return command === undefined ? groupHelp(name, commands) : commandHelp(name, command)
}

const commandHelp = (name: string, { summary, description, args = {}, options, examples }: Command): string =>
  `torpor ${name}: ${summary}

Usage: ${usageOf(name, { args, options })}

${description.join("\n")}

${Object.keys(args).length === 0 ? "" : `Arguments:\n${table(Object.entries(args).map(([arg, { what }]) => [arg, what]))}\n\n`}Options:
${table([
  ...Object.entries(options).map(([option, { what, value, short }]): [string, string] => [
    `${short === undefined ? "   " : `-${short},`} --${option}${value === undefined ? "" : ` ${value}`}`,
    what,
  ]),
  ["-h, --help", "print this"],
])}

Examples:
${table(Object.entries(examples))}
`

const usageOf = (name: string, { args = {}, options }: Pick<Command, "args" | "options">): string => {
  const given = Object.entries(options)
  // More than a few would hide the command.
  const shown = given.length > 2 ? ["[OPTION]…"] : given.map(([option, more]) => `[${withValue(option, more)}]`)
  const words = Object.entries(args).map(([arg, { required }]) => (required ? arg : `[${arg}]`))
  return ["torpor", name, ...shown, ...words].join(" ")
}

const withValue = (name: string, { value }: Option) => `--${name}${value === undefined ? "" : ` ${value}`}`

const groupHelp = (group: string, commands: Readonly<Record<string, Command>>): string =>
  `Usage: torpor ${group} COMMAND [OPTION]…

Commands:
${table(Object.entries(commands).flatMap(([name, { summary }]) => (name.startsWith(`${group} `) ? [[name, summary] as const] : [])))}

\`torpor ${group} COMMAND --help\` tells more.
`

/** What `torpor --version` prints. */
export const version = async (): Promise<string> => {
  const file = await readFile(new URL("../../package.json", import.meta.url), "utf8")
  return (JSON.parse(file) as { version: string }).version
}
