import { readFile } from "node:fs/promises"
import type { Command } from "./commands.ts"

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

/** What `torpor COMMAND --help` prints. */
export const helpOf = (name: string, { summary, description, options, examples }: Command): string =>
  `torpor ${name}: ${summary}

Usage: torpor ${[name, ...Object.keys(options).map((option) => `[--${option}]`)].join(" ")}

${description.join("\n")}

Options:
${table([
  ...Object.entries(options).map(([option, what]): [string, string] => [`    --${option}`, what]),
  ["-h, --help", "print this"],
])}

Examples:
${table(Object.entries(examples))}
`

/** What `torpor --version` prints. */
export const version = async (): Promise<string> => {
  const file = await readFile(new URL("../../package.json", import.meta.url), "utf8")
  return (JSON.parse(file) as { version: string }).version
}
