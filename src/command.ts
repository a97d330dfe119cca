import { spawn, type ChildProcess } from "node:child_process"
import { constants } from "node:fs"
import { access } from "node:fs/promises"
import { join } from "node:path"
import { OperatorError } from "./errors.ts"

/** How much of a command's words is kept for its error. */
const KEPT_CHARACTERS = 4096
/** How long an aborted command has to tidy up. */
const GRACE_MS = 3000

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

/** A program of a package that set-up would install. */
export class NotInstalledError extends OperatorError {
  readonly program: string

  constructor(program: string) {
    super(`${program} is not installed: run \`torpor setup\`.`)
    this.program = program
  }
}

export interface CommandOptions {
  readonly signal: AbortSignal
  readonly env?: Readonly<Record<string, string>>
  /** Written to its standard input. */
  readonly input?: string
  /** A program that prints more is ended, and has failed. */
  readonly maxOutputBytes?: number
}

/**
 * Runs a program to its end and answers what it printed; fails with the end of what it said. An abort ends it and all that it started
 * (SIGTERM, grace, SIGKILL), and rejects when they are gone: whoever tidies up after it is alone.
 */
export const runCommand = async (
  file: string,
  args: readonly string[],
  { signal, env, input, maxOutputBytes = Number.POSITIVE_INFINITY }: CommandOptions,
): Promise<string> => {
  signal.throwIfAborted()
  // In a process group of its own, which an abort ends as a whole.
  const child = spawn(file, args, { env: env ?? ENVIRONMENT, stdio: ["pipe", "pipe", "pipe"], detached: true })
  let output = ""
  let errors = ""
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    if (output.length > maxOutputBytes) return
    output += text
    if (output.length > maxOutputBytes) end()
  })
  child.stderr.setEncoding("utf8").on("data", (text: string) => (errors = (errors + text).slice(-KEPT_CHARACTERS)))
  // A program that ends without reading its input is no error of its own.
  child.stdin.on("error", () => {})
  child.stdin.end(input ?? "")
  let grace: NodeJS.Timeout | undefined
  const end = () => {
    killGroup(child, "SIGTERM")
    grace = setTimeout(() => killGroup(child, "SIGKILL"), GRACE_MS)
  }
  signal.addEventListener("abort", end, { once: true })
  try {
    const exitCode = await new Promise<number | null>((resolve, reject) => {
      child.once("error", reject).once("close", resolve)
    })
    signal.throwIfAborted()
    if (output.length > maxOutputBytes)
      throw new CommandError(file, null, `it printed more than ${maxOutputBytes} bytes`)
    if (exitCode !== 0) throw new CommandError(file, exitCode, errors || output.slice(-KEPT_CHARACTERS))
    return output
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") throw new NotInstalledError(file)
    throw error
  } finally {
    signal.removeEventListener("abort", end)
    clearTimeout(grace)
  }
}

/** The file that {@link runCommand} runs by this name. */
export const findProgram = async (name: string): Promise<string> => {
  for (const directory of ENVIRONMENT.PATH.split(":")) {
    const path = join(directory, name)
    const isThere = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (isThere) return path
  }
  throw new NotInstalledError(name)
}

/** A group whose last process has just ended is nothing to kill. */
const killGroup = ({ pid }: ChildProcess, name: "SIGTERM" | "SIGKILL") => {
  try {
    if (pid !== undefined) process.kill(-pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error
  }
}
