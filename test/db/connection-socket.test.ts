import { connect, type Socket } from "node:net"
import { setImmediate as turn } from "node:timers/promises"
import postgres from "postgres"
import { afterAll, beforeAll, expect, test } from "vitest"
import { openConnectionSocket } from "../../src/db/connection-socket.ts"
import { startPrivatePostgres, type PrivatePostgres } from "../../src/db/private-postgres.ts"
import { makeTestCluster, type TestCluster } from "./cluster.ts"

let cluster: TestCluster
let server: PrivatePostgres
beforeAll(async () => {
  cluster = await makeTestCluster()
  server = await startPrivatePostgres(cluster.dataDirectory, cluster.hostId, new AbortController().signal)
})
afterAll(() => cluster[Symbol.asyncDispose]())

/** Asks over a connection that closes just as another query is about to be sent on it, and then once more. */
const askBehindLost = async (open: (path: string) => Socket) => {
  const sockets: Socket[] = []
  const options = {
    path: server.socket,
    user: server.user,
    database: "postgres",
    max: 1,
    connect_timeout: 1,
    socket() {
      const socket = open(server.socket)
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
    await expect(sql`select 2`).rejects.toThrow("CONNECTION_CLOSED")
    return await sql`select 3 as three`
  } finally {
    await sql.end({ timeout: 0 })
  }
}

test("A connection that closed with something unsent is opened again, and the next query answered", async () => {
  await expect(askBehindLost(connect)).rejects.toThrow("CONNECT_TIMEOUT")
  expect(await askBehindLost(openConnectionSocket)).toEqual([{ three: 3 }])
})
