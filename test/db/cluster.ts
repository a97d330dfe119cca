import { randomUUID } from "node:crypto"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { stopPrivatePostgres } from "../../src/db/private-postgres.ts"
import { processesNaming } from "../fixtures/processes.ts"
import { endWhenGone } from "../fixtures/when-gone.ts"

export interface TestCluster extends AsyncDisposable {
  /** Its parent is for root alone. */
  readonly dataDirectory: string
  readonly hostId: string
}

/** A place for a private Postgres; disposing it stops what runs there and fails when anything of it is left. */
export const makeTestCluster = async (): Promise<TestCluster> => {
  const dataDirectory = await mkdtemp(join(tmpdir(), "torpor-db-"))
  const hostId = randomUUID()
  const isOver = endWhenGone(hostId, dataDirectory)
  return {
    dataDirectory,
    hostId,
    async [Symbol.asyncDispose]() {
      await stopPrivatePostgres(dataDirectory, hostId)
      await rm(dataDirectory, { recursive: true })
      isOver()
      const left = await processesOf(hostId)
      if (left.length > 0) throw new Error(`The cluster left processes behind: ${left.join(", ")}`)
    },
  }
}

/** The pids of every process that names the cluster of a host id. */
export const processesOf = (hostId: string): Promise<number[]> =>
  processesNaming(`/run/torpor/postgres/${hostId.slice(0, 8)}`)
