import { constants, copyFile, rename } from "node:fs/promises"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { runCommand } from "../command.ts"

/** The virtual size of every root disk: device layout v1. */
export const ROOT_DISK_BYTES = 10 * 1024 ** 3

/** Makes empty qcow2 overlays by copying a prepared one (0.2 ms; `qemu-img` takes 9). They name no backing file: the command line does. */
export const prepareOverlays = async (
  directory: string,
  signal: AbortSignal,
): Promise<(path: string) => Promise<void>> => {
  const template = join(directory, "overlay.qcow2")
  if (!existsSync(template)) {
    const temporary = `${template}.${process.pid}`
    await runCommand(
      "qemu-img",
      ["create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on,cluster_size=65536", temporary, String(ROOT_DISK_BYTES)],
      { signal },
    )
    await rename(temporary, template)
  }
  return (path) => copyFile(template, path, constants.COPYFILE_FICLONE)
}
