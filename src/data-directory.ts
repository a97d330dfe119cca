/**
 * The data directory: host id, key file, first credentials, and the lock that makes one daemon its owner.
 * `host-id`, `key`, `credentials.json`, `daemon.pid`; `postgres/`, `store/`, `layers/`, `bases/`, `vms/`, `tls/` are others' rooms.
 */
import { randomBytes, randomUUID } from "node:crypto"
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { OperatorError } from "./errors.ts"
import { tryLock } from "./file-lock.ts"

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

/** Opens the directory as its only daemon, making what is missing. The caller disposes it; a killed daemon's lock is gone with it. */
export const openDataDirectory = async (
  path: string,
  given: { accessKeyId: string; secretAccessKey: string } | undefined,
  signal: AbortSignal,
): Promise<DataDirectory> => {
  await mkdir(path, { recursive: true, mode: 0o700 })
  const pidFile = join(path, "daemon.pid")
  const held = await tryLock(join(path, "lock"), signal)
  if (held === undefined) {
    const pid = (await readFile(pidFile, "utf8").catch(() => "")).trim()
    throw new OperatorError(
      `Another daemon${pid === "" ? "" : ` (process ${pid})`} works on ${path}: stop it, or name another directory by TORPOR_DATA_DIR.`,
    )
  }
  try {
    const hostId = (await keep(join(path, "host-id"), () => `${randomUUID()}\n`)).trim()
    const key = Buffer.from((await keep(join(path, "key"), () => randomBytes(KEY_BYTES).toString("hex"))).trim(), "hex")
    if (key.length !== KEY_BYTES)
      throw new OperatorError(
        `${join(path, "key")} does not hold a key of ${KEY_BYTES} bytes: restore it from a backup.`,
      )
    const credentials = await firstCredentials(path, given)
    await writeFile(pidFile, `${process.pid}\n`)
    return {
      path,
      hostId,
      key,
      credentials,
      async [Symbol.asyncDispose]() {
        await rm(pidFile, { force: true })
        await held[Symbol.asyncDispose]()
      },
    }
  } catch (error) {
    await held[Symbol.asyncDispose]()
    throw error
  }
}

const firstCredentials = async (
  path: string,
  given: { accessKeyId: string; secretAccessKey: string } | undefined,
): Promise<Credentials> => {
  const text = await keep(join(path, "credentials.json"), () =>
    JSON.stringify({
      accessKeyId: `AKIA${randomBytes(10).toString("hex").slice(0, 16).toUpperCase()}`,
      secretAccessKey: randomBytes(30).toString("base64"),
      region: "us-east-1",
    }),
  )
  return { ...(JSON.parse(text) as Credentials), ...given }
}

/** What a file holds, written first if there is none: whole or not at all, and for root alone. */
const keep = async (file: string, make: () => string): Promise<string> => {
  try {
    return await readFile(file, "utf8")
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error
  }
  await writeFile(`${file}.new`, make(), { mode: 0o600, flush: true })
  await rename(`${file}.new`, file)
  return readFile(file, "utf8")
}
