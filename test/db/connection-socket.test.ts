import { readFile } from "node:fs/promises"
import { connect, type Socket } from "node:net"
import { setImmediate as turn } from "node:timers/promises"
import { sql as text } from "drizzle-orm"
import postgres from "postgres"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { createConnectionSockets } from "../../src/db/connection-socket.ts"
import { openDatabase } from "../../src/db/open.ts"
import { startPrivatePostgres, type PrivatePostgres } from "../../src/db/private-postgres.ts"
import { makeTestCluster, type TestCluster } from "./cluster.ts"
import { startTcpServer, type TcpServer } from "./tcp-server.ts"

let cluster: TestCluster
let server: PrivatePostgres
let tcp: TcpServer
const never = new AbortController().signal
beforeAll(async () => {
  cluster = await makeTestCluster()
  server = await startPrivatePostgres(cluster.dataDirectory, cluster.hostId, never)
  tcp = await startTcpServer()
})
afterAll(async () => {
  await tcp[Symbol.asyncDispose]()
  await cluster[Symbol.asyncDispose]()
})

/** For who is to see that nothing comes. */
const IMPATIENT = { connect_timeout: 2 }

/** Asks over a connection that closes just as another query is about to be sent on it, and then once more. */
const askBehindLost = async (open: () => Socket, more: object) => {
  const sockets: Socket[] = []
  const options = {
    user: "torpor",
    database: "postgres",
    max: 1,
    ...more,
    socket() {
      const socket = open()
      sockets.push(socket)
      return socket
    },
  }
  const sql = postgres(options)
  try {
    await sql`select 1`
    // Sockets are closed behind a turn's immediate callbacks: what is written now would be sent in the next.
    await turn()
    sockets.at(-1)?.destroy()
    await expect(sql`select 2`).rejects.toThrow(/CONNECTION_CLOSED|ECONNRESET/)
    return await sql`select 3 as three, ssl from pg_stat_ssl where pid = pg_backend_pid()`
  } finally {
    await sql.end({ timeout: 0 })
  }
}

describe("A connection that closed with something unsent is opened again, and the next query answered,", () => {
  test("at a Unix socket", async () => {
    const { socket: path } = server
    await expect(askBehindLost(() => connect(path), { path, ...IMPATIENT })).rejects.toThrow("CONNECT_TIMEOUT")
    expect(await askBehindLost(createConnectionSockets([{ path }]), { path })).toEqual([{ three: 3, ssl: false }])
  })

  test("over TCP", async () => {
    const place = { host: "127.0.0.1", port: tcp.port }
    await expect(askBehindLost(() => connect(place), { ...place, ...IMPATIENT })).rejects.toThrow("CONNECT_TIMEOUT")
    expect(await askBehindLost(createConnectionSockets([place]), place)).toEqual([{ three: 3, ssl: false }])
  })

  test("over TLS, to the name that the server's certificate is for", async () => {
    const place = { host: "localhost", port: tcp.port }
    const ssl = { ca: await readFile(tcp.certificateFile) }
    expect(await askBehindLost(createConnectionSockets([place]), { ...place, ssl })).toEqual([{ three: 3, ssl: true }])
  })
})

test("A server outside is found among its hosts, and answers on every connection when it was killed and started again", async () => {
  const url = `postgres://${tcp.user}@127.0.0.1:9,localhost:${tcp.port}/postgres?sslmode=require&target_session_attrs=read-write`
  await using opened = await openDatabase({ url }, never)
  const ask = () =>
    opened.db.execute<{ ssl: boolean }>(text`select ssl from pg_stat_ssl where pid = pg_backend_pid()`).then(
      ([row]) => row?.ssl,
      (error: Error) => (error.cause as { code?: unknown }).code,
    )
  let isOver = false
  const askers = Array.from({ length: 30 }, async () => {
    while (!isOver) {
      await ask()
      await turn()
    }
  })
  await tcp.kill()
  await expect.poll(ask, { timeout: 60_000 }).toBe("ECONNREFUSED")
  isOver = true
  await Promise.all(askers)
  await tcp.start()
  await expect
    .poll(() => Promise.all(Array.from({ length: 30 }, ask)), { timeout: 60_000 })
    .toEqual(Array.from({ length: 30 }, () => true))
})

test("Hosts of which none answers are said to be that", async () => {
  await expect(openDatabase({ url: "postgres://torpor@127.0.0.1:9,127.0.0.1:10/torpor" }, never)).rejects.toThrow(
    "The database of DATABASE_URL cannot be used: connect ECONNREFUSED 127.0.0.1:10",
  )
})
