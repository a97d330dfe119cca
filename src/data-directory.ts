/**
 * The data directory: host id, key file, first credentials, and the lock that makes one daemon its owner.
 * `host-id`, `key`, `credentials.json`, `daemon.pid`; `postgres/`, `store/`, `layers/`, `bases/`, `vms/`, `qemu/`, `tls/` are others' rooms.
 */
import { randomBytes, randomUUID } from "node:crypto"
import { existsSync } from "node:fs"
import { open, readFile, rename, rm, writeFile, type FileHandle } from "node:fs/promises"
import { dirname, join } from "node:path"
import { messageOf, OperatorError } from "./errors.ts"
import { lock, tryLock } from "./file-lock.ts"
import { makeDirectories } from "./make-directories.ts"

export interface Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly region: string
}

export interface DataDirectory extends AsyncDisposable {
  readonly path: string
  readonly hostId: string
  /** 32 bytes; secrets at rest are sealed under it. */
  readonly key: Buffer
  readonly credentials: Credentials
}

const KEY_BYTES = 32
const lockFile = (path: string) => join(path, "lock")
const pidFile = (path: string) => join(path, "daemon.pid")

/**
 * Opens the directory as its only daemon, making what is missing. The caller disposes it; a killed daemon's lock is gone with it.
 * Throws an {@link OperatorError} when another daemon has it, it cannot be made or written to, or a file in it is not what we wrote.
 */
export const openDataDirectory = async (
  path: string,
  given: { accessKeyId: string; secretAccessKey: string } | undefined,
  signal: AbortSignal,
): Promise<DataDirectory> => {
  await makeDirectories(path, 0o700).catch((error: unknown) => {
    throw inWords(path, error)
  })
  const held = await tryLock(lockFile(path), signal)
  if (held === undefined) {
    const pid = await readPid(path)
    throw new OperatorError(
      `Another daemon${pid === undefined ? "" : ` (process ${pid})`} works on ${path}: stop it, or name another directory by TORPOR_DATA_DIR.`,
    )
  }
  try {
    await writeFile(pidFile(path), `${process.pid}\n`)
    // The key first: a host id without a key is one that lost it, and not a first start that was interrupted.
    const key = await openKey(path)
    const hostId = (await keep(join(path, "host-id"), () => `${randomUUID()}\n`)).trim()
    if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(hostId))
      throw new OperatorError(`${join(path, "host-id")} does not hold a uuid: restore it from a backup.`)
    const credentials = { ...(await firstCredentials(path)), ...given }
    return {
      path,
      hostId,
      key,
      credentials,
      async [Symbol.asyncDispose]() {
        await rm(pidFile(path), { force: true })
        await held[Symbol.asyncDispose]()
      },
    }
  } catch (error) {
    await rm(pidFile(path), { force: true })
    await held[Symbol.asyncDispose]()
    throw inWords(path, error)
  }
}

/** What the file system refuses is for the operator to mend: the place is no directory, read-only, full, or belongs to another user. */
const inWords = (path: string, error: unknown): unknown =>
  typeof (error as NodeJS.ErrnoException).syscall === "string"
    ? new OperatorError(`${path} cannot be the data directory: ${messageOf(error)}`)
    : error

/** The pid of the daemon that works on a directory now. A pid file alone says nothing: a killed daemon's stays, and its pid may be another's by now. */
export const daemonOf = async (path: string, signal: AbortSignal): Promise<number | undefined> => {
  if (!existsSync(lockFile(path))) return undefined
  const held = await tryLock(lockFile(path), signal)
  if (held === undefined) return readPid(path)
  await held[Symbol.asyncDispose]()
  return undefined
}

/** Has the daemon that works on a directory stop, if there is one, and resolves when none does any more: with whether one was asked. */
export const stopDaemon = async (
  path: string,
  by: "SIGTERM" | "SIGUSR2",
  onAsked: (pid: number) => void,
  signal: AbortSignal,
): Promise<boolean> => {
  const pid = await daemonOf(path, signal)
  if (pid === undefined) return false
  const wasAsked = isSent(pid, by)
  if (wasAsked) onAsked(pid)
  await untilLeft(path, signal)
  return wasAsked
}

/** Whether there is such a process: one that was killed a moment ago holds its lock for as long as the kernel takes it apart. */
const isSent = (pid: number, by: NodeJS.Signals): boolean => {
  try {
    return process.kill(pid, by)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false
    throw error
  }
}

/** Resolves when no daemon works on a directory any more. */
const untilLeft = async (path: string, signal: AbortSignal): Promise<void> => {
  const held = await lock(lockFile(path), signal)
  await held[Symbol.asyncDispose]()
}

const readPid = async (path: string): Promise<number | undefined> => {
  const pid = Number(await readFile(pidFile(path), "utf8").catch(() => ""))
  return Number.isInteger(pid) && pid > 1 ? pid : undefined
}

const openKey = async (path: string): Promise<Buffer> => {
  const file = join(path, "key")
  if (!existsSync(file) && existsSync(join(path, "host-id")))
    throw new OperatorError(`${file} is gone, and what is stored was sealed under it: restore it from a backup.`)
  const text = (await keep(file, () => randomBytes(KEY_BYTES).toString("hex"))).trim()
  if (!/^[0-9a-f]*$/.test(text) || text.length !== 2 * KEY_BYTES)
    throw new OperatorError(`${file} does not hold a key of ${KEY_BYTES} bytes: restore it from a backup.`)
  return Buffer.from(text, "hex")
}

const firstCredentials = async (path: string): Promise<Credentials> => {
  const file = join(path, "credentials.json")
  const text = await keep(file, () =>
    JSON.stringify({
      accessKeyId: `AKIA${randomBytes(10).toString("hex").slice(0, 16).toUpperCase()}`,
      secretAccessKey: randomBytes(30).toString("base64"),
      region: "us-east-1",
    }),
  )
  try {
    const { accessKeyId, secretAccessKey, region } = JSON.parse(text) as Record<string, unknown>
    if (isWord(accessKeyId) && isWord(secretAccessKey) && isWord(region))
      return { accessKeyId, secretAccessKey, region }
  } catch {
    // Said below.
  }
  throw new OperatorError(
    `${file} does not hold {accessKeyId, secretAccessKey, region}: restore it, or delete it to get new credentials.`,
  )
}

const isWord = (value: unknown): value is string => typeof value === "string" && value !== ""

/** What a file holds, written first if there is none: whole or not at all, and for root alone. */
const keep = async (file: string, make: () => string): Promise<string> => {
  try {
    return await readFile(file, "utf8")
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error
  }
  const text = make()
  await rm(`${file}.new`, { force: true })
  await write(`${file}.new`, "wx", (handle) => handle.writeFile(text))
  await rename(`${file}.new`, file)
  // A key that a power cut takes back would take with it all that was sealed since.
  await write(dirname(file), "r", () => Promise.resolve())
  return text
}

/** Opens, writes and syncs. */
const write = async (path: string, flags: "r" | "wx", content: (handle: FileHandle) => Promise<void>) => {
  const handle = await open(path, flags, 0o600)
  try {
    await content(handle)
    await handle.sync()
  } finally {
    await handle.close()
  }
}
