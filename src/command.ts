import { spawn } from "node:child_process"

/** How much of a command's words is kept for its error. */
const KEPT_CHARACTERS = 4096

/** The same on every machine, whoever started the daemon. */
const ENVIRONMENT = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  LC_ALL: "C.UTF-8",
  HOME: "/root",
}

export class CommandError extends Error {
  override readonly name = "CommandError"
  readonly exitCode: number | null
  readonly output: string

  constructor(command: string, exitCode: number | null, output: string) {
    super(`${command} failed (${exitCode ?? "killed"}): ${output.trim().split("\n").slice(-3).join(" | ")}`)
    this.exitCode = exitCode
    this.output = output
  }
}

export interface CommandOptions {
  readonly signal: AbortSignal
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  /** Written to its standard input. */
  readonly input?: string
}

/** Runs a program to its end and answers what it printed; fails with the end of what it said. An abort ends it with SIGTERM. */
export const runCommand = async (
  file: string,
  args: readonly string[],
  { signal, cwd, env, input }: CommandOptions,
): Promise<string> => {
  const child = spawn(file, args, { signal, cwd, env: env ?? ENVIRONMENT, stdio: ["pipe", "pipe", "pipe"] })
  let output = ""
  let errors = ""
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text))
  child.stderr.setEncoding("utf8").on("data", (text: string) => (errors = (errors + text).slice(-KEPT_CHARACTERS)))
  // A program that ends without reading its input is no error of its own.
  child.stdin.on("error", () => {})
  child.stdin.end(input ?? "")
  const exitCode = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject)
    child.once("close", resolve)
  })
  if (exitCode !== 0) throw new CommandError(file, exitCode, errors || output.slice(-KEPT_CHARACTERS))
  return output
}
