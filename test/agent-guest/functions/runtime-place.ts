/** A runtime's own disks, in a namespace where what Debian 13 has is what programs find. */
import { mkdir } from "node:fs/promises"
import { join } from "node:path"
import type { RuntimeDisks } from "../../../images/runtimes/runtime-disks.ts"
import { FUNCTION_ENV } from "./function.ts"
import { openFiles, startProgram } from "./program.ts"

/** Where the runtime's drive is in the namespace, and where the root disk is until then. */
const [DRIVE, ROOT] = ["drive", "root"]
const SCRIPT = `
here=$1 root=$2 drive=$3
shift 3
mount -o ro,loop "$drive" "$here/${DRIVE}"
mount -o ro,loop "$root" "$here/${ROOT}"
mount --bind "$here/${ROOT}/usr" /usr
exec "$@"`
const NAMESPACE = ["unshare", "--mount", "--fork", "--kill-child", "sh", "-euc", SCRIPT, "sh"]

/** `drive` is where the drive is for what `within` runs; disposing it removes the place. */
export const openRuntimePlace = async ({ rootDisk, runtimeDisk }: RuntimeDisks) => {
  const files = await openFiles({})
  for (const name of [DRIVE, ROOT]) await mkdir(join(files.path, name))
  return {
    ...files,
    drive: join(files.path, DRIVE),
    within: (argv: readonly string[]) => [...NAMESPACE, files.path, rootDisk, runtimeDisk, ...argv],
  }
}

/** The runtime as a program, with these arguments, and this environment beside its own; disposing it ends it. */
export const startRuntime = async (
  disks: RuntimeDisks,
  api: { readonly port: number },
  { args = [], env }: { readonly args?: readonly string[]; readonly env: Readonly<Record<string, string>> },
) => {
  await using stack = new AsyncDisposableStack()
  const { drive, within } = stack.use(await openRuntimePlace(disks))
  const PATH = `${join(drive, "lang/bin")}:${process.env["PATH"]}`
  const program = stack.use(
    startProgram(api, within([join(drive, "runtime/bootstrap"), ...args]), {
      ...FUNCTION_ENV,
      PATH,
      LD_LIBRARY_PATH: join(drive, "lang/lib"),
      LAMBDA_RUNTIME_DIR: join(drive, "runtime"),
      ...env,
    }),
  )
  const all = stack.move()
  return { program, drive, PATH, [Symbol.asyncDispose]: () => all.disposeAsync() }
}
