/**
 * A Postgres cluster of our own in the data directory: on a Unix socket only, as an unprivileged user, in a session (under systemd a
 * scope) of its own, so that it outlives the daemon and is taken over by the next one.
 */
import { spawn } from "node:child_process"
import { constants, existsSync } from "node:fs"
import { chmod, open, readFile, rm, rmdir } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { OperatorError } from "../errors.ts"
import { inScope } from "../systemd.ts"
import {
  accountIds,
  asAccount,
  findBinaries,
  makeCluster,
  makeDirectory,
  mountPoint,
  POSTGRES_USER,
  runDirectory,
} from "./cluster.ts"
import { endLeftBehind } from "./left-behind.ts"

export interface PrivatePostgres {
  /** The socket itself. */
  readonly socket: string
  readonly user: string
}

const PORT = 5432
const START_TIMEOUT_MS = 60_000
const [POLL_MS, RETRY_MS] = [20, 500]
/** What is open is rolled back. */
const STOP_SIGNAL = "SIGINT"

/** Small, durable, and asleep when nobody asks: an idle daemon wakes nothing. */
const SETTINGS = {
  listen_addresses: "",
  max_connections: "60",
  shared_buffers: "32MB",
  huge_pages: "off",
  jit: "off",
  max_wal_size: "256MB",
  checkpoint_timeout: "30min",
  wal_writer_delay: "10s",
  bgwriter_delay: "10s",
  autovacuum_naptime: "10min",
  log_min_messages: "warning",
  logging_collector: "off",
}

/** Starts the cluster, making it first if there is none; one that runs already is taken over. Nothing is left running when it fails. */
export const startPrivatePostgres = async (
  dataDirectory: string,
  hostId: string,
  signal: AbortSignal,
): Promise<PrivatePostgres> => {
  const data = join(dataDirectory, "postgres")
  const socket = join(runDirectory(hostId), `.s.PGSQL.${PORT}`)
  const running = { socket, user: POSTGRES_USER }
  if ((await postmasterOf(data, hostId)) !== undefined) return running
  const account = await accountIds(signal)
  for (const path of [runDirectory(hostId), mountPoint(hostId)]) await makeDirectory(path, account)
  for (const above of ["/run/torpor", "/run/torpor/postgres"]) await chmod(above, 0o755)
  try {
    if (!existsSync(data)) await makeCluster(dataDirectory, data, account, hostId, signal)
  } catch (error) {
    await removePlaces(hostId)
    throw error
  }
  await start(data, hostId, signal)
  return running
}

/** Stops the cluster of a data directory, if it runs; what is open is rolled back. */
export const stopPrivatePostgres = async (dataDirectory: string, hostId: string): Promise<void> => {
  const data = join(dataDirectory, "postgres")
  const pid = await postmasterOf(data, hostId)
  if (pid !== undefined) {
    process.kill(pid, STOP_SIGNAL)
    // It takes its lock file away before it ends.
    while (await isPostmaster(pid, hostId)) await sleep(POLL_MS)
  }
  await removePlaces(hostId)
}

const removePlaces = async (hostId: string): Promise<void> => {
  // By its own name and empty: were something mounted there after all, it would be the cluster that is removed.
  await rmdir(mountPoint(hostId)).catch(ignoreMissing)
  await rm(runDirectory(hostId), { recursive: true, force: true })
}

const start = async (data: string, hostId: string, signal: AbortSignal) => {
  const deadline = Date.now() + START_TIMEOUT_MS
  for (;;) {
    const said = await startOnce(data, hostId, deadline, signal)
    if (said === undefined) return
    if (!said.includes("is still in use") || Date.now() > deadline)
      throw new OperatorError(`The private Postgres did not start: ${lastWords(said)}`)
    await endLeftBehind(data)
    await sleep(RETRY_MS, undefined, { signal })
  }
}

/** Resolves when it serves; or, with all that it said, when it has ended. */
const startOnce = async (
  data: string,
  hostId: string,
  deadline: number,
  signal: AbortSignal,
): Promise<string | undefined> => {
  signal.throwIfAborted()
  const version = await readFile(join(data, "PG_VERSION"), "utf8").catch(() => {
    throw new OperatorError(`${data} holds no cluster of Postgres: restore it from a backup, or move it away.`)
  })
  const binaries = await findBinaries(version.trim())
  // After a crash it names a process that is gone, or by now is another's, for which Postgres would refuse to start.
  await rm(join(data, "postmaster.pid"), { force: true })
  const settings = { ...SETTINGS, unix_socket_directories: runDirectory(hostId), unix_socket_permissions: "0700" }
  // Appended to: what a killed one left behind may still write to it, too.
  const { O_WRONLY, O_CREAT, O_TRUNC, O_APPEND } = constants
  const logFile = await open(join(data, "postgres.log"), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0o600)
  const command = asAccount(data, hostId, [
    join(binaries, "postgres"),
    "-D",
    mountPoint(hostId),
    ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
  ])
  // At a shutdown of the machine it ends as we would end it: SIGTERM would make it wait for its clients.
  const [file = "", ...args] = inScope(`torpor-${hostId.slice(0, 8)}-postgres`, STOP_SIGNAL, command)
  const child = spawn(file, args, {
    detached: true,
    stdio: ["ignore", logFile.fd, logFile.fd],
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C.UTF-8" },
  })
  await logFile.close()
  let hasEnded = false
  const ended = new Promise<void>((resolve) => {
    child.once("exit", () => resolve()).once("error", () => resolve())
  }).then(() => (hasEnded = true))
  try {
    while (!(await isReady(data))) {
      if (hasEnded) return await logOf(data)
      if (Date.now() > deadline)
        throw new OperatorError(
          `The private Postgres did not start within ${START_TIMEOUT_MS / 1000} s: ${lastWords(await logOf(data))}`,
        )
      await sleep(POLL_MS, undefined, { signal })
    }
    child.unref()
    return undefined
  } catch (error) {
    child.kill("SIGQUIT")
    await ended
    throw signal.aborted ? signal.reason : error
  }
}

/** Postgres says so in its lock file, and that it still starts before that. */
const isReady = (data: string): Promise<boolean> =>
  readFile(join(data, "postmaster.pid"), "utf8").then(
    (text) => /^ready\s*$/m.test(text),
    () => false,
  )

const logOf = (data: string) => readFile(join(data, "postgres.log"), "utf8").catch(() => "")
const lastWords = (log: string) => log.trim().split("\n").slice(-3).join(" | ") || "it said nothing"

/** The postmaster's pid, if the one that the cluster's lock file names is really it. */
const postmasterOf = async (data: string, hostId: string): Promise<number | undefined> => {
  const pid = Number((await readFile(join(data, "postmaster.pid"), "utf8").catch(() => "")).split("\n")[0])
  if (!Number.isInteger(pid) || pid < 2) return undefined
  return (await isPostmaster(pid, hostId)) ? pid : undefined
}

const isPostmaster = async (pid: number, hostId: string): Promise<boolean> => {
  const commandLine = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")
  return commandLine.split("\0").includes(mountPoint(hostId))
}

const ignoreMissing = (error: NodeJS.ErrnoException) => {
  if (error.code !== "ENOENT") throw error
}
