/** Mounts of the guest, made and taken away by the agent's own process. */
import { getSystemErrorMessage } from "node:util"

/** The library of images/system/mount.c. */
const LIBRARY = "/mount.node"
/** Of mount(2). */
export const MOUNT = { readOnly: 1, noSetuid: 2, noDevices: 4, noAccessTimes: 1024, bind: 4096 } as const

/** Both answer with 0 or an error's number. */
interface Library {
  mount(source: string, target: string, type: string, flags: number, options: string): number
  umount(target: string): number
}

let loaded: Library | undefined

const load = (): Library => {
  if (loaded !== undefined) return loaded
  const library = { exports: {} as Library }
  process.dlopen(library, LIBRARY)
  return (loaded = library.exports)
}

/** Mounts at once, or throws with the kernel's reason. `type` is empty for a bind mount. */
export const mount = (source: string, target: string, type: string, flags: readonly number[], options = ""): void => {
  const all = flags.reduce((bits, flag) => bits | flag, 0)
  const error = load().mount(source, target, type, all, options)
  if (error !== 0) throw new Error(`${source} could not be mounted at ${target}: ${getSystemErrorMessage(-error)}`)
}

/** Takes away what is mounted last at a path; throws with the kernel's reason, as where it is in use. */
export const unmount = (target: string): void => {
  const error = load().umount(target)
  if (error !== 0) throw new Error(`${target} could not be unmounted: ${getSystemErrorMessage(-error)}`)
}
