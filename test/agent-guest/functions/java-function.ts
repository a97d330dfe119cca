/** A Java function as its environment has it: the runtime's own disks, in a namespace where what Debian 13 has is what programs find. */
import { mkdir } from "node:fs/promises"
import { join } from "node:path"
import type { RuntimeDisks } from "../../../images/runtimes/runtime-disks.ts"
import { runCommand } from "../../../src/command.ts"
import type { RuntimeApiOptions } from "../../../images/agent/functions/runtime-api.ts"
import { FUNCTION_ENV } from "./function.ts"
import { openApi, openFiles, startProgram } from "./program.ts"

/** Where the runtime's drive is in the namespace, and where the root disk is until then. */
const [DRIVE, ROOT] = ["drive", "root"]
const SCRIPT = `
here=$1 root=$2 drive=$3
shift 3
mount -o ro,loop "$drive" "$here/${DRIVE}"
mount -o ro,loop "$root" "$here/${ROOT}"
mount --bind "$here/${ROOT}/usr" /usr
exec "$@"`

/** What runs a program there. */
const within = (here: string, { rootDisk, runtimeDisk }: RuntimeDisks, argv: readonly string[]) => [
  ...NAMESPACE,
  here,
  rootDisk,
  runtimeDisk,
  ...argv,
]
const NAMESPACE = ["unshare", "--mount", "--fork", "--kill-child", "sh", "-euc", SCRIPT, "sh"]

const openPlace = async () => {
  const files = await openFiles({})
  for (const name of [DRIVE, ROOT]) await mkdir(join(files.path, name))
  return files
}

/** Sources compiled by the runtime's own compiler; disposing it removes the classes. */
export const compileJava = async (disks: RuntimeDisks, sources: Readonly<Record<string, string>>) => {
  await using stack = new AsyncDisposableStack()
  const place = stack.use(await openPlace())
  const code = stack.use(await openFiles(sources))
  const classes = await openFiles({})
  const java = [join(place.path, DRIVE, "lang/bin/java"), "-m", "jdk.compiler/com.sun.tools.javac.Main"]
  const api = join(place.path, DRIVE, "runtime/lib/api")
  const names = Object.keys(sources).map((name) => join(code.path, name))
  const [file = "", ...rest] = within(place.path, disks, [...java, "-cp", api, "-d", classes.path, ...names])
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
export const startJavaProgram = async (
  disks: RuntimeDisks,
  api: { readonly port: number },
  env: Readonly<Record<string, string>>,
) => {
  await using stack = new AsyncDisposableStack()
  const place = stack.use(await openPlace())
  const drive = join(place.path, DRIVE)
  const argv = within(place.path, disks, [join(drive, "runtime/bootstrap"), "-XX:MaxHeapSize=64m"])
  const PATH = `${join(drive, "lang/bin")}:${process.env["PATH"]}`
  const program = stack.use(
    startProgram(api, argv, { ...FUNCTION_ENV, PATH, LAMBDA_RUNTIME_DIR: join(drive, "runtime"), ...env }),
  )
  const all = stack.move()
  return { program, drive, PATH, [Symbol.asyncDispose]: () => all.disposeAsync() }
}

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
