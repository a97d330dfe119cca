import { existsSync } from "node:fs"
import { join } from "node:path"
import { startDaemon } from "../daemon.ts"
import { daemonOf, untilLeft } from "../data-directory.ts"
import { stopPrivatePostgres } from "../db/private-postgres.ts"
import { createLog } from "../log.ts"
import type { CommandInput } from "./commands.ts"

/** `torpor down`: stops the daemon, puts every VM to sleep, and stops the private Postgres. */
export const down = async ({ config, print, signal }: CommandInput): Promise<number> => {
  const { dataDirectory } = config
  // A daemon's last trace; without it there is nothing to take down, and nothing should be made for it.
  if (!existsSync(join(dataDirectory, "host-id"))) {
    print(`Nothing was ever started in ${dataDirectory}.`)
    return 0
  }
  const pid = await daemonOf(dataDirectory, signal)
  if (pid !== undefined) {
    print(`Stopping the daemon (process ${pid})`)
    process.kill(pid, "SIGTERM")
    await untilLeft(dataDirectory, signal)
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
  if (config.databaseUrl === undefined) await stopPrivatePostgres(dataDirectory, daemon.hostId)
  print("Everything is stopped.")
  return 0
}
