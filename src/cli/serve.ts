import { once } from "node:events"
import { startDaemon } from "../daemon.ts"
import { createLog } from "../log.ts"
import { keepProgram } from "../program/keep.ts"
import type { CommandInput } from "./commands.ts"

/** `torpor serve`: until a signal comes. VMs and the private Postgres run on, unless it is to go down; the next start takes them over. */
export const serve = async ({ config, print, signal, down }: CommandInput): Promise<number> => {
  const log = createLog(config.logLevel)
  const daemon = await startDaemon(config, log, print, signal)
  const asked = AbortSignal.any([signal, down])
  const kept = keepProgram(asked).catch((error: unknown) => {
    if (!asked.aborted) log.warn({ err: error }, "The program could not be put together: starts take longer")
  })
  if (!asked.aborted) await once(asked, "abort")
  if (signal.aborted) log.info("Stopping; virtual machines run on")
  else log.info({ virtualMachines: await daemon.suspendAll(signal) }, "Going down; virtual machines sleep")
  await Promise.all([daemon.close(), kept])
  return 0
}
