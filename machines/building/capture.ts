/** From a guest at work to the files of a base. */
import { chmod, chown, mkdir, rename, rm } from "node:fs/promises"
import { dirname, join } from "node:path"
import { died, type BuildLife } from "./build-vm.ts"

/** What the guest wrote to its root disk until then. */
export const TOP = "root.qcow2"

export interface Capture {
  readonly id: string
  /** New; there only if it is whole. */
  readonly directory: string
  /** The root disk's file that the guest writes. */
  readonly overlay: string
}

/** Takes memory, devices and what was written to the root disk; the guest's process has ended then. The agent is let go of before. */
export const captureBase = async (
  { live }: BuildLife,
  { id, directory, overlay }: Capture,
  signal: AbortSignal,
): Promise<{ readonly memoryBytes: number; readonly top: string }> => {
  const { vm, guest } = live
  // Before it is frozen, so that whoever is still at work after the last answer has done it, and is not cloned with it.
  await Promise.race([vm.untilQuiet(signal), died(live)])
  await guest.freeze(signal)
  await vm.pause()
  await mkdir(dirname(directory), { recursive: true, mode: 0o700 })
  try {
    const { memoryBytes } = await vm.saveBase({ directory }, id)
    await vm.kill()
    const top = join(directory, TOP)
    await chown(overlay, 0, 0)
    await chmod(overlay, 0o444)
    await rename(overlay, top)
    return { memoryBytes, top }
  } catch (error) {
    await rm(directory, { recursive: true, force: true })
    throw error
  }
}
