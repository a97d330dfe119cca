import { createHash, randomUUID } from "node:crypto"
import { existsSync } from "node:fs"
import { appendFile, mkdir, mkdtemp, readdir, readFile, rename, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { runCommand } from "../../src/command.ts"
import { parseConfig } from "../../src/config.ts"
import { findBinaries } from "../../src/db/cluster.ts"
import { stopPrivatePostgres } from "../../src/db/private-postgres.ts"
import { lock } from "../../src/file-lock.ts"
import { endWhenGone } from "../fixtures/when-gone.ts"

const MIGRATIONS = fileURLToPath(new URL("../../migrations", import.meta.url))
/** Only a machine's own crash could tell: the data of a test doesn't outlive it. */
const SETTINGS = "fsync = off\nfull_page_writes = off\n"
const { signal } = new AbortController()

/**
 * Puts a cluster with every table and no row into a data directory, for who tests something else than a first start: initdb and the
 * migrations are seconds of a processor. It is made once per machine and kept in the cache.
 */
export const putEmptyCluster = async (dataDirectory: string): Promise<void> => {
  const { cacheDirectory } = parseConfig({ TORPOR_CACHE_DIR: process.env["TORPOR_CACHE_DIR"] })
  const kept = join(cacheDirectory, "test", `cluster-${await key()}`)
  if (!existsSync(kept)) {
    await mkdir(join(cacheDirectory, "test"), { recursive: true })
    await using _ = await lock(`${kept}.lock`, signal)
    if (!existsSync(kept)) await make(kept)
  }
  await runCommand("cp", ["--archive", kept, join(dataDirectory, "postgres")], { signal })
}

/** Of all that it is made of. */
const key = async (): Promise<string> => {
  const hash = createHash("sha256").update(`${await findBinaries(undefined)}\n${SETTINGS}`)
  const names = (await readdir(MIGRATIONS)).filter((name) => name.endsWith(".sql")).toSorted()
  for (const name of [...names, "meta/_journal.json"]) hash.update(await readFile(join(MIGRATIONS, name)))
  return hash.digest("hex").slice(0, 32)
}

const make = async (kept: string): Promise<void> => {
  // Most find one.
  const { openDatabase } = await import("../../src/db/open.ts")
  const [dataDirectory, hostId] = [await mkdtemp(join(tmpdir(), "torpor-db-")), randomUUID()]
  const isOver = endWhenGone(hostId, dataDirectory)
  try {
    const database = await openDatabase({ dataDirectory, hostId }, signal)
    await database[Symbol.asyncDispose]()
  } finally {
    await stopPrivatePostgres(dataDirectory, hostId)
  }
  await appendFile(join(dataDirectory, "postgres/postgresql.conf"), SETTINGS)
  // Whole or not at all, also where the cache is on another file system.
  await rm(`${kept}.new`, { recursive: true, force: true })
  await runCommand("cp", ["--archive", join(dataDirectory, "postgres"), `${kept}.new`], { signal })
  await rename(`${kept}.new`, kept)
  await rm(dataDirectory, { recursive: true })
  isOver()
}
