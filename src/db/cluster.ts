/**
 * A cluster's files and the programs that work on them, as an unprivileged account. They reach the files by a bind mount in a mount
 * namespace of their own: the data directory may lie where that account may not go.
 */
import { randomBytes } from "node:crypto"
import { existsSync } from "node:fs"
import { chmod, chown, mkdir, readdir, rename, rm } from "node:fs/promises"
import { join } from "node:path"
import { CommandError, runCommand } from "../command.ts"
import { OperatorError } from "../errors.ts"
import { endUnfinishedWork } from "./left-behind.ts"

export const POSTGRES_USER = "torpor"
const ACCOUNT = "postgres"
const VERSIONS = "/usr/lib/postgresql"
const NOT_INSTALLED = "Postgres is not installed: run `torpor setup`."

export interface Account {
  readonly uid: number
  readonly gid: number
}

/** Where its sockets are. */
export const runDirectory = (hostId: string) => join("/run/torpor/postgres", hostId.slice(0, 8))

/** The cluster's place inside its own mount namespace. */
export const mountPoint = (hostId: string) => join(runDirectory(hostId), "data")

/** Whose files and processes they are. */
export const accountIds = async (signal: AbortSignal): Promise<Account> => {
  const line = await runCommand("getent", ["passwd", ACCOUNT], { signal }).catch((error: unknown) => {
    if (error instanceof CommandError) return ""
    throw error
  })
  const [, , uid, gid] = line.split(":")
  if (uid === undefined || gid === undefined) throw new OperatorError(NOT_INSTALLED)
  return { uid: Number(uid), gid: Number(gid) }
}

/** Makes a directory that is the account's alone. */
export const makeDirectory = async (path: string, { uid, gid }: Account) => {
  await mkdir(path, { recursive: true })
  await chown(path, uid, gid)
  await chmod(path, 0o700)
}

const AS_ACCOUNT = `mount --bind "$1" "$2" && shift 2 && cd / && exec setpriv --reuid="${ACCOUNT}" --regid="${ACCOUNT}" --init-groups --no-new-privs -- "$@"`
/** The words that run a program of Postgres's as its account, with the cluster of `data` at its mount point. */
export const asAccount = (data: string, hostId: string, program: readonly string[]) => [
  "unshare",
  "--mount",
  "--propagation=private",
  "sh",
  "-c",
  AS_ACCOUNT,
  "sh",
  data,
  mountPoint(hostId),
  ...program,
]

/** The programs of the cluster's version, or the newest installed; a version may be there with its client alone. */
export const findBinaries = async (version: string | undefined): Promise<string> => {
  const installed = (await readdir(VERSIONS).catch(() => []))
    .filter((name) => existsSync(join(VERSIONS, name, "bin/postgres")))
    .toSorted((a, b) => Number(b) - Number(a))
  const chosen = version ?? installed[0]
  if (chosen === undefined || !installed.includes(chosen))
    throw new OperatorError(
      version === undefined
        ? NOT_INSTALLED
        : `The data directory's cluster is of Postgres ${version}, which is not installed (${installed.join(", ") || "none"} is): install postgresql-${version}.`,
    )
  return join(VERSIONS, chosen, "bin")
}

/** A cluster has its name only when all of it is there: initdb writes its version first, and may be killed at any time. */
export const makeCluster = async (
  dataDirectory: string,
  data: string,
  account: Account,
  hostId: string,
  signal: AbortSignal,
) => {
  const binaries = await findBinaries(undefined)
  const place = `--pgdata=${mountPoint(hostId)}`
  for (const entry of await readdir(dataDirectory)) {
    if (!/^postgres\..*\.new$/.test(entry)) continue
    await endUnfinishedWork(place)
    // What has lost its initdb writes on until it notices.
    await rm(join(dataDirectory, entry), { recursive: true, force: true, maxRetries: 20, retryDelay: 20 })
  }
  const unfinished = `${data}.${randomBytes(4).toString("hex")}.new`
  await makeDirectory(unfinished, account)
  const [file = "", ...args] = asAccount(unfinished, hostId, [
    join(binaries, "initdb"),
    place,
    `--username=${POSTGRES_USER}`,
    "--auth=trust",
    "--encoding=UTF8",
    "--locale=C.UTF-8",
  ])
  try {
    await runCommand(file, args, { signal })
    await rename(unfinished, data)
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true })
    throw error instanceof CommandError
      ? new OperatorError(`The private Postgres could not be made: ${error.message}`)
      : error
  }
}
