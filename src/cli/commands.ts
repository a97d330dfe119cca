import type { Config } from "../config.ts"
import { doctor } from "./doctor.ts"
import { down } from "./down.ts"
import { quickstart } from "./quickstart.ts"
import { serve } from "./serve.ts"
import { setup } from "./setup.ts"

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
  quickstart: {
    summary: "build, launch, suspend and wake a sample application, with timings; leaves nothing behind",
    run: quickstart,
  },
  setup: { summary: "install what this machine lacks, and build the base artefacts", run: setup },
  doctor: { summary: "check everything the daemon needs, with what to do [--json]", run: doctor },
  serve: { summary: "run the daemon in the foreground", run: serve },
  down: { summary: "put every virtual machine to sleep, stop the daemon and its Postgres", run: down },
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
