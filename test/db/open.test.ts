import { randomUUID } from "node:crypto"
import { readFile } from "node:fs/promises"
import { createServer, type AddressInfo } from "node:net"
import { once } from "node:events"
import { dirname, join } from "node:path"
import { sql } from "drizzle-orm"
import { pino } from "pino"
import postgres, { type Sql } from "postgres"
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { openDatabase } from "../../src/db/open.ts"
import { startPrivatePostgres, type PrivatePostgres } from "../../src/db/private-postgres.ts"
import { hosts } from "../../src/db/schema.ts"
import { registerHost } from "../../src/db/identity.ts"
import { makeTestCluster, processesOf, type TestCluster } from "./cluster.ts"

const never = new AbortController().signal
const HOST = "00000000-0000-4000-8000-000000000001"
const refusal = (words: RegExp) =>
  expect.objectContaining({ name: "OperatorError", message: expect.stringMatching(words) })
const journal = JSON.parse(await readFile(new URL("../../migrations/meta/_journal.json", import.meta.url), "utf8")) as {
  entries: { when: number }[]
}

// One server for all of it, by its socket: to DATABASE_URL it is an outside one.
let cluster: TestCluster
let server: PrivatePostgres
let admin: Sql
let name: string
const urlOf = (database: string, user = server.user) =>
  `postgres://localhost/${database}?host=${encodeURIComponent(dirname(server.socket))}&user=${user}`

beforeAll(async () => {
  cluster = await makeTestCluster()
  server = await startPrivatePostgres(cluster.dataDirectory, cluster.hostId, never)
  admin = postgres({ path: server.socket, user: server.user, database: "postgres", max: 1, onnotice: () => {} })
})
afterAll(async () => {
  await admin.end()
  await cluster[Symbol.asyncDispose]()
})
beforeEach(async () => {
  name = `test_${randomUUID().replaceAll("-", "")}`
  await admin.unsafe(`create database ${name}`)
})

const tablesOf = async (url: string) => {
  await using opened = await openDatabase({ url }, never)
  const rows = await opened.db.execute<{ table: string }>(
    sql`select table_name as table from information_schema.tables where table_schema = 'public' order by 1`,
  )
  return rows.map(({ table }) => table)
}

describe("An outside database", () => {
  test("gets every table at its first start, and keeps what is in them at the next", async () => {
    expect(await tablesOf(urlOf(name))).toContain("microvms")
    {
      await using opened = await openDatabase({ url: urlOf(name) }, never)
      await registerHost(opened.db, HOST, "first")
    }
    await using again = await openDatabase({ url: urlOf(name) }, never)
    expect(await again.db.select({ name: hosts.name }).from(hosts)).toEqual([{ name: "first" }])
  })

  test("is migrated once by daemons that start together", async () => {
    const opened = await Promise.all(Array.from({ length: 6 }, () => openDatabase({ url: urlOf(name) }, never)))
    const [first] = opened
    const applied = await first?.db.execute(sql`select hash from drizzle.__drizzle_migrations`)
    expect(applied).toHaveLength(journal.entries.length)
    await Promise.all(opened.map((database) => database[Symbol.asyncDispose]()))
  })

  test("of a newer Torpor is refused, and left as it is", async () => {
    const before = await tablesOf(urlOf(name))
    const newest = Math.max(...journal.entries.map(({ when }) => when))
    const outside = postgres({ path: server.socket, user: server.user, database: name, max: 1 })
    try {
      await outside`insert into drizzle.__drizzle_migrations (hash, created_at) values ('from the future', ${newest + 1})`
      await outside`drop table outbox`
      await expect(openDatabase({ url: urlOf(name) }, never)).rejects.toThrow(
        refusal(/^The database was written by a newer Torpor: update this one, or restore a backup made by it\.$/),
      )
      const left = await outside`select table_name from information_schema.tables where table_schema = 'public'`
      expect(left).toHaveLength(before.length - 1)
      await outside`delete from drizzle.__drizzle_migrations where hash = 'from the future'`
    } finally {
      await outside.end()
    }
  })

  test("that a migration could not be made in is left without half of it, and without our lock", async () => {
    const outside = postgres({ path: server.socket, user: server.user, database: name, max: 1 })
    try {
      // In the way of a table that the first migration makes after others.
      await outside`create table outbox (mine int)`
      await expect(openDatabase({ url: urlOf(name) }, never)).rejects.toThrow()
      const tables = await outside`select table_name from information_schema.tables where table_schema = 'public'`
      expect(tables.map(({ table_name }) => table_name as string)).toEqual(["outbox"])
      await outside`drop table outbox`
      expect(await tablesOf(urlOf(name))).toContain("outbox")
    } finally {
      await outside.end()
    }
  })

  test("lets go of every connection when it is closed, also after a refusal", async () => {
    const opened = await openDatabase({ url: urlOf(name) }, never)
    await Promise.all(Array.from({ length: 20 }, () => opened.db.execute(sql`select 1`)))
    await opened[Symbol.asyncDispose]()
    const outside = postgres({ path: server.socket, user: server.user, database: name, max: 1 })
    await outside`insert into drizzle.__drizzle_migrations (hash, created_at) values ('from the future', ${Date.now()})`
    await outside.end()
    await expect(openDatabase({ url: urlOf(name) }, never)).rejects.toThrow(/newer Torpor/)
    // Without `force` this is refused while anybody is connected.
    await admin.unsafe(`drop database ${name}`)
  })
})

describe("A database that cannot be used is one sentence with the server's own words", () => {
  test("when it isn't there", async () => {
    await expect(openDatabase({ url: urlOf("nowhere") }, never)).rejects.toThrow(
      refusal(/^The database of DATABASE_URL cannot be used: database "nowhere" does not exist$/),
    )
  })

  test("when the account isn't there", async () => {
    await expect(openDatabase({ url: urlOf(name, "stranger") }, never)).rejects.toThrow(
      refusal(/^The database of DATABASE_URL cannot be used: role "stranger" does not exist$/),
    )
  })

  test("when nobody listens, and the password isn't in it", async () => {
    const thrown = await openDatabase({ url: "postgres://torpor:hunter2@127.0.0.1:9/torpor" }, never).catch(
      (error: unknown) => error,
    )
    expect(thrown).toEqual(refusal(/^The database of DATABASE_URL cannot be used: .*ECONNREFUSED/))
    expect(String(thrown)).not.toContain("hunter2")
  })

  test("when the URL is none, and the password isn't in it", async () => {
    for (const url of ["postgres://", "postgres://torpor:hunter2@[/torpor", "postgres://a:hunter2@/b?host=/run"]) {
      const thrown = await openDatabase({ url }, never).catch((error: unknown) => error)
      expect(thrown, url).toEqual(refusal(/^The database of DATABASE_URL cannot be used: /))
      expect(String(thrown)).not.toContain("hunter2")
    }
  })

  test("unless somebody stops waiting for it", async () => {
    const silent = createServer().listen(0, "127.0.0.1")
    await once(silent, "listening")
    const stop = new AbortController()
    const opening = openDatabase(
      { url: `postgres://torpor@127.0.0.1:${(silent.address() as AddressInfo).port}/torpor` },
      stop.signal,
    )
    const aborted = expect(opening).rejects.toThrow("enough")
    await once(silent, "connection")
    stop.abort(new Error("enough"))
    await aborted
    silent.close()
  })
})

test("The private one is opened without any address, in a database of its own", async () => {
  await using opened = await openDatabase({ dataDirectory: cluster.dataDirectory, hostId: cluster.hostId }, never)
  const [row] = await opened.db.execute<{ name: string; count: number }>(
    sql`select current_database() as name, (select count(*)::int from hosts) as count`,
  )
  expect(row).toEqual({ name: "torpor", count: 0 })
})

test("The private one is started again when it dies, for who has it to itself, until that one has gone", async () => {
  await using own = await makeTestCluster()
  const pidOf = async () =>
    Number((await readFile(join(own.dataDirectory, "postgres/postmaster.pid"), "utf8")).split("\n")[0])
  const opened = await openDatabase(own, never, pino({ level: "silent" }))
  const first = await pidOf()
  process.kill(first, "SIGKILL")
  const asked = () => opened.db.execute(sql`select 1 as one`).then(([row]) => row?.["one"], String)
  // What it had forked may answer for a moment more.
  await expect.poll(() => pidOf().catch(() => first)).not.toBe(first)
  await expect.poll(asked).toBe(1)
  const second = await pidOf()
  await opened[Symbol.asyncDispose]()
  process.kill(second, "SIGKILL")
  await expect.poll(() => processesOf(own.hostId)).toEqual([])
})
