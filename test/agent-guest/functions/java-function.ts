/** A Java function as its environment has it. */
import { join } from "node:path"
import type { RuntimeDisks } from "../../../images/runtimes/runtime-disks.ts"
import { runCommand } from "../../../src/command.ts"
import type { RuntimeApiOptions } from "../../../images/agent/functions/runtime-api.ts"
import { openApi, openFiles } from "./program.ts"
import { openRuntimePlace, startRuntime } from "./runtime-place.ts"

/** Sources compiled by the runtime's own compiler; disposing it removes the classes. */
export const compileJava = async (disks: RuntimeDisks, sources: Readonly<Record<string, string>>) => {
  await using stack = new AsyncDisposableStack()
  const { drive, within } = stack.use(await openRuntimePlace(disks))
  const code = stack.use(await openFiles(sources))
  const classes = await openFiles({})
  const java = [join(drive, "lang/bin/java"), "-m", "jdk.compiler/com.sun.tools.javac.Main"]
  const names = Object.keys(sources).map((name) => join(code.path, name))
  const [file = "", ...rest] = within([...java, "-cp", join(drive, "runtime/lib/api"), "-d", classes.path, ...names])
  await runCommand(file, rest, { signal: AbortSignal.timeout(120_000) })
  return classes
}

export interface JavaFunctionOptions {
  readonly disks: RuntimeDisks
  /** The directory of its classes. */
  readonly code: string
  readonly env?: Readonly<Record<string, string>>
  readonly api?: Partial<RuntimeApiOptions>
}

/** The runtime as a program, with this environment beside its own; disposing it ends it. */
export const startJavaProgram = (
  disks: RuntimeDisks,
  api: { readonly port: number },
  env: Readonly<Record<string, string>>,
) => startRuntime(disks, api, { args: ["-XX:MaxHeapSize=64m"], env })

/** Starts it; disposing it ends its process. */
export const startJava = async (handler: string, { disks, code, env = {}, api: options = {} }: JavaFunctionOptions) => {
  await using stack = new AsyncDisposableStack()
  const api = stack.use(await openApi(options))
  const { program } = stack.use(
    await startJavaProgram(disks, api, { _HANDLER: handler, LAMBDA_TASK_ROOT: code, ...env }),
  )
  const all = stack.move()
  return { api, program, [Symbol.asyncDispose]: () => all.disposeAsync() }
}
