import { once } from "node:events"
import { startDaemon } from "../daemon.ts"
import { createLog } from "../log.ts"
import type { CommandInput } from "./commands.ts"

/** `torpor serve`: until a signal comes. VMs and the private Postgres run on, unless it is to go down; the next start takes them over. */
export const serve = async ({ config, print, signal, down }: CommandInput): Promise<number> => {
  const log = createLog(config.logLevel)
  const daemon = await startDaemon(config, log, print, signal)
  const asked = AbortSignal.any([signal, down])
  if (!asked.aborted) await once(asked, "abort")
  if (signal.aborted) log.info("Stopping; virtual machines run on")
  else log.info({ virtualMachines: await daemon.suspendAll(signal) }, "Going down; virtual machines sleep")
  await daemon.close()
  return 0
}
