import { rm } from "node:fs/promises"
import { runCommand } from "./command.ts"

/**
 * Makes a node for /dev/net/tun that any uid may open, in a directory that only root enters: some machines keep their own for root.
 * What can be done with it is bounded by who owns the TAP.
 */
export const mknod = async (path: string, signal: AbortSignal): Promise<void> => {
  await rm(path, { force: true })
  await runCommand("mknod", ["--mode=666", path, "c", "10", "200"], { signal })
}
