import type { Config } from "../config.ts"
import { quickstart } from "./quickstart.ts"
import { serve } from "./serve.ts"

export interface CommandInput {
  readonly config: Config
  readonly args: readonly string[]
  readonly print: (line: string) => void
  readonly signal: AbortSignal
}

export interface Command {
  readonly summary: string
  /** Resolves with the exit code. */
  run(input: CommandInput): Promise<number>
}

/** Every command of `torpor`. */
export const commands: Readonly<Record<string, Command>> = {
  quickstart: { summary: "build, launch, suspend and wake a sample application, with timings; leaves nothing behind", run: quickstart },
  serve: { summary: "run the daemon in the foreground", run: serve },
}

/** What `torpor --help` prints. */
export const usage = (): string =>
  `torpor: a real virtual machine for every user, job or AI agent

Usage: torpor COMMAND

${Object.entries(commands)
  .map(([name, { summary }]) => `  ${name.padEnd(12)} ${summary}`)
  .join("\n")}

Settings come from the environment (TORPOR_DATA_DIR, TORPOR_API_PORT, TORPOR_EDGE_PORT, …) and from
the file named by TORPOR_CONFIG; the README lists them.
`
