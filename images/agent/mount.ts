/** Mounts of the guest, made by the agent's own process. */
import { getSystemErrorMessage } from "node:util"

/** The library of images/system/mount.c. */
const LIBRARY = "/mount.node"
/** Of mount(2). */
export const MOUNT = { readOnly: 1, noSetuid: 2, noDevices: 4, noAccessTimes: 1024, bind: 4096 } as const

type Mount = (source: string, target: string, type: string, flags: number, options: string) => number
let loaded: Mount | undefined

/** Mounts at once, or throws with the kernel's reason. `type` is empty for a bind mount. */
export const mount = (source: string, target: string, type: string, flags: readonly number[], options = ""): void => {
  if (loaded === undefined) {
    const library = { exports: {} as { mount: Mount } }
    process.dlopen(library, LIBRARY)
    loaded = library.exports.mount
  }
  const error = loaded(
    source,
    target,
    type,
    flags.reduce((all, flag) => all | flag, 0),
    options,
  )
  if (error !== 0) throw new Error(`${source} could not be mounted at ${target}: ${getSystemErrorMessage(-error)}`)
}
