import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { startDaemon } from "../daemon.ts"
import { stopPrivatePostgres } from "../db/private-postgres.ts"
import { createLog } from "../log.ts"
import type { CommandInput } from "./commands.ts"

/** `torpor down`: stops the daemon, puts every VM to sleep, and stops the private Postgres. */
export const down = async ({ config, print, signal }: CommandInput): Promise<number> => {
  const pid = Number(await readFile(join(config.dataDirectory, "daemon.pid"), "utf8").catch(() => ""))
  if (pid > 1 && isAlive(pid)) {
    print(`Stopping the daemon (process ${pid})`)
    process.kill(pid, "SIGTERM")
    while (isAlive(pid)) await sleep(20, undefined, { signal })
  }
  // A daemon of our own for the moment takes the VMs over; it serves nobody.
  const quiet = { ...config, api: { ...config.api, port: 0 }, edge: { ...config.edge, port: 0 } }
  const daemon = await startDaemon(quiet, createLog("error"), () => {}, signal)
  try {
    const count = await daemon.suspendAll(signal)
    print(count === 1 ? "1 virtual machine sleeps" : `${count} virtual machines sleep`)
  } finally {
    await daemon.close()
  }
  if (config.databaseUrl === undefined) await stopPrivatePostgres(config.dataDirectory, daemon.hostId)
  print("Everything is stopped.")
  return 0
}

const isAlive = (pid: number) => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
