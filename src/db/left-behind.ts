/** What a killed postmaster leaves behind: its children notice when they look up from their work, and until then no other can start. */
import { readdir, stat } from "node:fs/promises"

/** Ends them as their postmaster would have after a crash: at once, since what they promised is in the log that the next one reads. */
export const endLeftBehind = async (data: string): Promise<void> => {
  const cluster = await stat(data)
  for (const pid of await readdir("/proc")) {
    if (!/^\d+$/.test(pid)) continue
    // A server's working directory is its cluster, under whatever name its own mounts give it.
    const directory = await stat(`/proc/${pid}/cwd`).catch(() => undefined)
    if (directory?.ino !== cluster.ino || directory.dev !== cluster.dev) continue
    try {
      process.kill(Number(pid), "SIGQUIT")
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error
    }
  }
}
