/** `torpor quickstart`: everything once, MicroVMs and functions, in a directory of its own that is gone afterwards. */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { startDaemon } from "../../daemon.ts"
import { stopPrivatePostgres } from "../../db/private-postgres.ts"
import { createLog } from "../../log.ts"
import type { CommandInput } from "../commands.ts"
import { runSetup } from "../setup/setup.ts"
import { functionTour } from "./function-tour.ts"
import { microvmTour } from "./microvm-tour.ts"

/** Runs it; the directory, its daemon and its Postgres are gone when it resolves, also when it fails. */
export const quickstart = async ({ config, print, signal }: CommandInput): Promise<number> => {
  await runSetup(config, print, signal)
  const directory = await mkdtemp(join(tmpdir(), "torpor-quickstart-"))
  const log = createLog(config.logLevel === "info" ? "error" : config.logLevel)
  let hostId: string | undefined
  try {
    print(`Starting a daemon of its own in ${directory}`)
    const own = {
      ...config,
      dataDirectory: directory,
      databaseUrl: undefined,
      api: { ...config.api, port: 0 },
      edge: { ...config.edge, port: 0 },
    }
    const daemon = await startDaemon(own, log, print, signal)
    hostId = daemon.hostId
    try {
      await microvmTour(daemon, print, signal)
      await functionTour(daemon, print, signal)
    } finally {
      await daemon.endAll()
      await daemon.close()
    }
    return 0
  } finally {
    if (hostId !== undefined) await stopPrivatePostgres(directory, hostId)
    await rm(directory, { recursive: true, force: true })
    print("Nothing is left running.")
  }
}
