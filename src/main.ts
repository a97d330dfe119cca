#!/usr/bin/env node
/** The program: it alone reads the environment and the signals, and hands both on as values. */
import { readFile } from "node:fs/promises"
import { commands, usage } from "./cli/commands.ts"
import { parseConfig } from "./config.ts"
import { OperatorError } from "./errors.ts"
import { armFailpoint } from "./failpoint.ts"

const [name = "--help", ...args] = process.argv.slice(2)
const stop = new AbortController()
for (const signal of ["SIGTERM", "SIGINT"] as const)
  process.on(signal, () => {
    // The second one doesn't wait.
    if (stop.signal.aborted) process.exit(130)
    stop.abort(new OperatorError(`Stopped by ${signal}.`))
  })

const run = async (): Promise<number> => {
  // Anywhere on the line: nobody who asks what a command does wants it done.
  if (name === "help" || [name, ...args].some((word) => word === "--help" || word === "-h")) {
    process.stdout.write(usage())
    return 0
  }
  const command = commands[name]
  if (command === undefined) throw new OperatorError(`There is no command '${name}': see \`torpor --help\`.`)
  const file = process.env["TORPOR_CONFIG"]
  const text =
    file === undefined || file === ""
      ? undefined
      : await readFile(file, "utf8").catch((error: Error) => {
          throw new OperatorError(`The file of TORPOR_CONFIG cannot be read: ${error.message}.`)
        })
  const config = parseConfig(process.env, text)
  if (config.failAt !== undefined) armFailpoint(config.failAt)
  const print = (line: string) => void process.stdout.write(`${line}\n`)
  return command.run({ config, args, print, signal: stop.signal })
}

try {
  process.exitCode = await run()
} catch (thrown) {
  // Whatever an aborted wait throws, what happened is the signal.
  const error: unknown = stop.signal.aborted ? stop.signal.reason : thrown
  process.stderr.write(
    error instanceof OperatorError
      ? `${error.message}\n`
      : `${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
  )
  process.exitCode = stop.signal.aborted ? 130 : 1
}
// What a closed daemon leaves open on purpose, the processes of its VMs, would keep this one alive.
process.exit()
