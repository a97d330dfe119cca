/** What a killed daemon or postmaster leaves behind: its children notice when they look up from their work, and are in the way until then. */
import { readdir, readFile, stat } from "node:fs/promises"

/** Ends a killed postmaster's children as their postmaster would have after a crash: at once, since what they promised is in the log that the next one reads. */
export const endLeftBehind = async (data: string): Promise<void> => {
  const cluster = await stat(data)
  for (const pid of await processIds()) {
    // A server's working directory is its cluster, under whatever name its own mounts give it.
    const directory = await stat(`/proc/${pid}/cwd`).catch(() => undefined)
    if (directory?.ino !== cluster.ino || directory.dev !== cluster.dev) continue
    sendSignal(pid, "SIGQUIT")
  }
}

/** Ends what a killed daemon had at work on a cluster that has never been whole: every process with the word among its arguments. */
export const endUnfinishedWork = async (argument: string): Promise<void> => {
  for (const pid of await processIds()) {
    const commandLine = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")
    if (commandLine.split("\0").includes(argument)) sendSignal(pid, "SIGKILL")
  }
}

const processIds = async () => (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number)

const sendSignal = (pid: number, signal: NodeJS.Signals) => {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error
  }
}
