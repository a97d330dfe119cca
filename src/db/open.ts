import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { drizzle, type PostgresJsDatabase } from "drizzle-orm/postgres-js"
import { migrate } from "drizzle-orm/postgres-js/migrator"
import postgres, { type Sql } from "postgres"
import { messageOf, OperatorError } from "../errors.ts"
import type { Log } from "../log.ts"
import { createConnectionSockets, type Place } from "./connection-socket.ts"
import { startPrivatePostgres } from "./private-postgres.ts"
import { createRevival } from "./revival.ts"

export interface OpenDatabase extends AsyncDisposable {
  readonly db: PostgresJsDatabase
}

export type DatabaseAddress = { readonly url: string } | { readonly dataDirectory: string; readonly hostId: string }

const MIGRATIONS = fileURLToPath(new URL("../../migrations", import.meta.url))
const DATABASE = "torpor"
/** Any number, the same in every daemon: who migrates, migrates alone. */
const MIGRATION_LOCK = 0x746f7270
const MAX_CONNECTIONS = 20
const POSTGRES_PORT = 5432
const UNDEFINED_TABLE = "42P01"

/**
 * Connects to Postgres (our own unless a URL is given) and brings its schema up to date. The caller disposes it; the server runs on. Who
 * has the data directory to itself gives a log: our own server is started again then when it dies.
 */
export const openDatabase = async (address: DatabaseAddress, signal: AbortSignal, log?: Log): Promise<OpenDatabase> => {
  const revival = "url" in address || log === undefined ? undefined : createRevival(address, log)
  const sql = await connect(address, revival?.onclose, signal)
  const end = async (seconds: number) => {
    await revival?.[Symbol.asyncDispose]()
    await sql.end({ timeout: seconds })
  }
  try {
    await migrateUp(sql)
  } catch (error) {
    await end(1)
    throw error
  }
  return { db: drizzle(sql), [Symbol.asyncDispose]: () => end(5) }
}

/** Whether a database outside can be used: asks it, and changes nothing. Throws an {@link OperatorError} in its words. */
export const checkDatabase = async (url: string, signal: AbortSignal): Promise<void> => {
  const sql = await connectTo(url, signal)
  await sql.end({ timeout: 1 })
}

/** Seconds until a connection that closed is opened again. */
const BACKOFF = { first: 0.01, last: 0.5 }

const quiet = {
  onnotice: () => {},
  max: MAX_CONNECTIONS,
  // All connections count their failures together: the client's own would leave each of them closed for up to 20 s after an outage.
  backoff: (failures: number) => Math.min(BACKOFF.first * 2 ** failures, BACKOFF.last),
} as const

/** What `postgres` takes for its sockets, and its types don't know. */
const at = (...places: [Place, ...Place[]]) => ({ socket: createConnectionSockets(places) })
const atSocket = (path: string) => ({ path, ...at({ path }) })

const connect = async (
  address: DatabaseAddress,
  onclose: (() => void) | undefined,
  signal: AbortSignal,
): Promise<Sql> => {
  if ("url" in address) return connectTo(address.url, signal)
  const { socket, user } = await startPrivatePostgres(address.dataDirectory, address.hostId, signal)
  const connection = { ...quiet, ...atSocket(socket), user }
  const sql = postgres({ ...connection, database: DATABASE, ...(onclose === undefined ? {} : { onclose }) })
  try {
    await sql`select 1`
  } catch (error) {
    if (!isMissing(error)) {
      await sql.end({ timeout: 0 })
      throw error
    }
    const admin = postgres({ ...connection, max: 1, database: "postgres" })
    try {
      await admin.unsafe(`create database ${DATABASE}`)
    } finally {
      await admin.end({ timeout: 5 })
    }
  }
  return sql
}

/** Whether it is the database that isn't there: invalid_catalog_name. */
const isMissing = (error: unknown) => (error as { code?: unknown }).code === "3D000"

const connectTo = async (url: string, signal: AbortSignal): Promise<Sql> => {
  signal.throwIfAborted()
  let sql: Sql | undefined
  const end = () => void sql?.end({ timeout: 0 })
  try {
    const opened = openUrl(url)
    sql = opened.sql
    signal.addEventListener("abort", end, { once: true })
    await answers(sql, opened.places)
    return sql
  } catch (error) {
    await sql?.end({ timeout: 0 })
    signal.throwIfAborted()
    throw new OperatorError(`The database of DATABASE_URL cannot be used: ${messageOf(error)}`)
  } finally {
    signal.removeEventListener("abort", end)
  }
}

/** Resolves when it does at one of its places; rejects as it did at the last. */
const answers = async (sql: Sql, places: number): Promise<void> => {
  try {
    await sql`select 1`
  } catch (error) {
    if (places === 1) throw error
    await answers(sql, places - 1)
  }
}

/** As libpq does, `host` and `user` behind the question mark win: a socket's directory fits nowhere else in a URL. */
const openUrl = (text: string): { sql: Sql; places: number } => {
  const query = new URLSearchParams(text.split("?")[1] ?? "")
  const [directory, user] = [query.get("host"), query.get("user")]
  if (directory?.startsWith("/") !== true) return openHosts(text)
  const url = new URL(text)
  url.searchParams.delete("host")
  url.searchParams.delete("user")
  const sql = postgres(url.href, {
    ...quiet,
    ...atSocket(join(directory, `.s.PGSQL.${url.port === "" ? POSTGRES_PORT : url.port}`)),
    ...(user === null ? {} : { user }),
  })
  return { sql, places: 1 }
}

/** A client of the hosts that a URL names. It knows of one: told of more, postgres.js (3.4) asks them without end, and says no error. */
const openHosts = (text: string): { sql: Sql; places: number } => {
  const own = postgres(text, quiet)
  const { host, port, path, sslnegotiation } = own.options as unknown as ParsedUrl
  // TLS from the first byte is said behind our back.
  if (sslnegotiation === "direct") return { sql: own, places: 1 }
  if (path !== false) return { sql: postgres(text, { ...quiet, ...atSocket(path) }), places: 1 }
  const [first, ...others] = host.map((name, index) => ({ host: name, port: port[index] ?? POSTGRES_PORT }))
  if (first === undefined) throw new Error("it names no host")
  return { sql: postgres(text, { ...quiet, ...first, ...at(first, ...others) }), places: host.length }
}

/** What postgres.js makes of a URL, and its types don't say. */
interface ParsedUrl {
  readonly host: readonly string[]
  readonly port: readonly number[]
  readonly path: string | false
  readonly sslnegotiation: string | null
}

const migrateUp = async (sql: Sql) => {
  const journal = JSON.parse(await readFile(`${MIGRATIONS}/meta/_journal.json`, "utf8")) as {
    entries: { when: number }[]
  }
  const newest = Math.max(...journal.entries.map(({ when }) => when))
  if ((await lastMigration(sql)) === newest) return
  const connection = await sql.reserve()
  try {
    await connection`select pg_advisory_lock(${MIGRATION_LOCK})`
    const last = await lastMigration(connection)
    if (last !== undefined && last > newest)
      throw new OperatorError(
        "The database was written by a newer Torpor: update this one, or restore a backup made by it.",
      )
    if (last === newest) return
    await migrate(drizzle(sql), { migrationsFolder: MIGRATIONS })
  } finally {
    await connection`select pg_advisory_unlock(${MIGRATION_LOCK})`
    connection.release()
  }
}

/** When the newest of the migrations that were applied was made; `undefined` where none was. */
const lastMigration = async (sql: Sql): Promise<number | undefined> => {
  try {
    const [last] = await sql`select max(created_at) as at from drizzle.__drizzle_migrations`
    return last?.["at"] === null ? undefined : Number(last?.["at"])
  } catch (error) {
    if ((error as { code?: unknown }).code === UNDEFINED_TABLE) return undefined
    throw error
  }
}
