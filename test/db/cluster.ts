import { randomUUID } from "node:crypto"
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { stopPrivatePostgres } from "../../src/db/private-postgres.ts"

export interface TestCluster extends AsyncDisposable {
  /** Its parent is for root alone. */
  readonly dataDirectory: string
  readonly hostId: string
}

/** A place for a private Postgres; disposing it stops what runs there and fails when anything of it is left. */
export const makeTestCluster = async (): Promise<TestCluster> => {
  const dataDirectory = await mkdtemp(join(tmpdir(), "torpor-db-"))
  const hostId = randomUUID()
  return {
    dataDirectory,
    hostId,
    async [Symbol.asyncDispose]() {
      await stopPrivatePostgres(dataDirectory, hostId)
      await rm(dataDirectory, { recursive: true })
      const left = await processesOf(hostId)
      if (left.length > 0) throw new Error(`The cluster left processes behind: ${left.join(", ")}`)
    },
  }
}

/** The pids of every process that names the cluster of a host id. */
export const processesOf = async (hostId: string): Promise<number[]> => {
  const found: number[] = []
  for (const entry of await readdir("/proc")) {
    const words = /^\d+$/.test(entry) ? await readFile(`/proc/${entry}/cmdline`, "utf8").catch(() => "") : ""
    if (words.includes(`/run/torpor/postgres/${hostId.slice(0, 8)}`)) found.push(Number(entry))
  }
  return found
}
