import { lstat, rm } from "node:fs/promises"
import { runCommand } from "./command.ts"

const [MAJOR, MINOR, MODE] = [10, 200, 0o666]

/**
 * Makes a node for /dev/net/tun that any uid may open, in a directory that only root enters: some machines keep their own for root.
 * What can be done with it is bounded by who owns the TAP.
 */
export const mknod = async (path: string, signal: AbortSignal): Promise<void> => {
  const there = await lstat(path).catch(() => undefined)
  // Numbers as small as these are one byte each.
  if (there?.isCharacterDevice() === true && there.rdev === (MAJOR << 8) + MINOR && (there.mode & 0o777) === MODE)
    return
  await rm(path, { force: true })
  await runCommand("mknod", [`--mode=${MODE.toString(8)}`, path, "c", String(MAJOR), String(MINOR)], { signal })
}
