import { existsSync } from "node:fs"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { liveVms } from "../../machines/vm-row.ts"
import type { Config } from "../config.ts"
import { stopDaemon } from "../data-directory.ts"
import { openDatabase } from "../db/open.ts"
import { stopPrivatePostgres } from "../db/private-postgres.ts"
import type { CommandInput } from "./commands.ts"

/** `torpor down`: puts every VM to sleep, and stops the daemon and the private Postgres. */
export const down = async ({ config, print, signal }: CommandInput): Promise<number> => {
  const { dataDirectory } = config
  // A daemon's last trace; without it there is nothing to take down, and nothing should be made for it.
  const hostFile = join(dataDirectory, "host-id")
  if (!existsSync(hostFile)) {
    print(`Nothing was ever started in ${dataDirectory}.`)
    return 0
  }
  const onAsked = (pid: number) => print(`Stopping the daemon (process ${pid})`)
  const wasAsked = await stopDaemon(dataDirectory, "SIGUSR2", onAsked, signal)
  const hostId = (await readFile(hostFile, "utf8")).trim()
  const count = (wasAsked ? await sleeping(config, hostId, signal) : undefined) ?? (await takeDown(config, signal))
  print(count === 1 ? "1 virtual machine sleeps" : `${count} virtual machines sleep`)
  if (config.databaseUrl === undefined) await stopPrivatePostgres(dataDirectory, hostId)
  print("Everything is stopped.")
  return 0
}

/** How many VMs sleep, by what a daemon has left; undefined while there are others. */
const sleeping = async (
  { databaseUrl, dataDirectory }: Config,
  hostId: string,
  signal: AbortSignal,
): Promise<number | undefined> => {
  await using database = await openDatabase(
    databaseUrl === undefined ? { dataDirectory, hostId } : { url: databaseUrl },
    signal,
  )
  const vms = await liveVms(database.db, hostId)
  return vms.every(({ pid, snapshot }) => pid === null && snapshot === "ready") ? vms.length : undefined
}

/** Puts to sleep what a daemon that was killed, or could not, has left running; resolves with how many sleep. */
const takeDown = async (config: Config, signal: AbortSignal): Promise<number> => {
  const [{ startDaemon }, { createLog }] = await Promise.all([import("../daemon.ts"), import("../log.ts")])
  // A daemon of our own for the moment takes the VMs over; it serves nobody.
  const quiet = { ...config, api: { ...config.api, port: 0 }, edge: { ...config.edge, port: 0 } }
  const daemon = await startDaemon(quiet, createLog("error"), () => {}, signal, { resumes: false })
  try {
    return await daemon.suspendAll(signal)
  } finally {
    await daemon.close()
  }
}
