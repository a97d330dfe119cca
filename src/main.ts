#!/usr/bin/env node
/** The program: it alone reads the environment and the signals, and hands both on as values. */
// Before anything that imports it.
import "./resolve-drizzle.ts"
import { readFile } from "node:fs/promises"
import { commands } from "./cli/commands.ts"
import { helpOf, overview, version } from "./cli/help.ts"
import { parseInvocation, UsageError } from "./cli/invocation.ts"
import { parseConfig } from "./config.ts"
import { OperatorError } from "./errors.ts"
import { armFailpoint } from "./failpoint.ts"

const stop = new AbortController()
// A closed terminal too: nothing that was started in it is left running.
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const)
  process.on(signal, () => {
    // The second one doesn't wait.
    if (stop.signal.aborted) process.exit(130)
    stop.abort(new OperatorError(`Stopped by ${signal}.`))
  })

// Asked by `torpor down`.
const down = new AbortController()
process.on("SIGUSR2", () => down.abort())

// Whoever reads us may have read enough (`torpor quickstart | head -1`): what was begun is ended all the same.
process.stdout.on("error", () => {})

const run = async (): Promise<number> => {
  const invocation = parseInvocation(process.argv.slice(2), commands)
  const print = (line: string) => void process.stdout.write(`${line}\n`)
  const note = (line: string) => void process.stderr.write(`${line}\n`)
  if (invocation.kind === "version") {
    print(`torpor ${await version()}`)
    return 0
  }
  const command = commands[invocation.command ?? ""]
  if (invocation.kind === "help" || command === undefined) {
    const { command: name } = invocation
    process.stdout.write(name === undefined ? overview(commands) : helpOf(name, commands))
    return 0
  }
  if (command.asRoot && process.getuid?.() !== 0)
    throw new OperatorError("Torpor makes network namespaces and jails: run this as root.")
  const file = process.env["TORPOR_CONFIG"]
  const text =
    file === undefined || file === ""
      ? undefined
      : await readFile(file, "utf8").catch((error: Error) => {
          throw new OperatorError(`The file of TORPOR_CONFIG cannot be read: ${error.message}.`)
        })
  const config = parseConfig(process.env, text)
  if (config.failAt !== undefined) armFailpoint(config.failAt)
  const { options, args } = invocation
  return command.run({ config, options, args, print, note, signal: stop.signal, down: down.signal })
}

try {
  process.exitCode = await run()
} catch (thrown) {
  // Whatever an aborted wait throws, what happened is the signal.
  const error: unknown = stop.signal.aborted ? stop.signal.reason : thrown
  process.stderr.write(
    error instanceof OperatorError || error instanceof UsageError
      ? `${error.message}\n`
      : `${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
  )
  process.exitCode = stop.signal.aborted ? 130 : error instanceof UsageError ? 2 : 1
}
// What a closed daemon leaves open on purpose, the processes of its VMs, would keep this one alive.
process.exit()
