import { once } from "node:events"
import { startDaemon } from "../daemon.ts"
import { createLog } from "../log.ts"
import type { CommandInput } from "./commands.ts"

/** `torpor serve`: until a signal comes. VMs and the private Postgres run on; the next start takes them over. */
export const serve = async ({ config, print, signal }: CommandInput): Promise<number> => {
  const log = createLog(config.logLevel)
  const daemon = await startDaemon(config, log, print, signal)
  if (!signal.aborted) await once(signal, "abort")
  log.info("Stopping; virtual machines run on")
  await daemon.close()
  return 0
}
