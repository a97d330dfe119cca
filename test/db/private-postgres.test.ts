import { spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync } from "node:fs"
import { mkdir, readdir, readFile, readlink, stat, writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import postgres from "postgres"
import { describe, expect, test } from "vitest"
import { runCommand } from "../../src/command.ts"
import { startPrivatePostgres, stopPrivatePostgres, type PrivatePostgres } from "../../src/db/private-postgres.ts"
import { eventually } from "../fixtures/eventually.ts"
import { makeTestCluster, processesOf, type TestCluster } from "./cluster.ts"
import { putEmptyCluster } from "./empty-cluster.ts"

const MODULE = new URL("../../src/db/private-postgres.ts", import.meta.url).href
const never = new AbortController().signal

/** A place where there is a cluster already, for what doesn't begin with a first start. */
const madeCluster = async (): Promise<TestCluster> => {
  const cluster = await makeTestCluster()
  await putEmptyCluster(cluster.dataDirectory)
  return cluster
}
const start = ({ dataDirectory, hostId }: TestCluster, signal = never) =>
  startPrivatePostgres(dataDirectory, hostId, signal)
const connect = ({ socket, user }: PrivatePostgres) =>
  postgres({ path: socket, user, database: "postgres", max: 1, onnotice: () => {} })

const ask = async (running: PrivatePostgres, query: string): Promise<string> => {
  const sql = connect(running)
  try {
    const [row] = await sql.unsafe(query).values()
    return String(row?.[0])
  } finally {
    await sql.end()
  }
}

const postmaster = async ({ dataDirectory }: TestCluster) =>
  Number((await readFile(join(dataDirectory, "postgres/postmaster.pid"), "utf8")).split("\n")[0])

const untilGone = (pid: number) => eventually(() => expect(existsSync(`/proc/${pid}`)).toBe(false), { interval: 5 })

describe("The private Postgres", () => {
  test("is made and started, unprivileged, below a parent that its account may not enter", async () => {
    await using cluster = await makeTestCluster()
    expect((await stat(cluster.dataDirectory)).mode & 0o777).toBe(0o700)
    const running = await start(cluster)
    expect(await ask(running, "select 6 * 7")).toBe("42")
    const status = await readFile(`/proc/${await postmaster(cluster)}/status`, "utf8")
    expect(status).not.toMatch(/^[UG]id:.*\b0\b/m)
    expect(status).toMatch(/^CapEff:\t0+$/m)
    expect(status).toMatch(/^NoNewPrivs:\t1$/m)
    expect((await readdir(cluster.dataDirectory)).toSorted((a, b) => a.localeCompare(b))).toEqual(["postgres"])
    expect(((await stat(join(cluster.dataDirectory, "postgres"))).mode & 0o777).toString(8)).toBe("700")
  })

  test("is reached by its socket alone, which is for root and its own account", async () => {
    await using cluster = await madeCluster()
    const running = await start(cluster)
    expect(await ask(running, "show listen_addresses")).toBe("")
    const kinds: string[] = []
    for (const pid of await processesOf(cluster.hostId)) {
      const inodes = await socketsOf(pid)
      for (const table of ["tcp", "tcp6", "udp", "udp6"]) {
        const lines = (await readFile(`/proc/net/${table}`, "utf8")).split("\n")
        if (lines.some((line) => inodes.has(line.trim().split(/\s+/)[9] ?? ""))) kinds.push(table)
      }
    }
    expect(kinds).toEqual([])
    const { mode, uid } = await stat(dirname(running.socket))
    expect((mode & 0o777).toString(8)).toBe("700")
    expect(uid).toBe((await stat(join(cluster.dataDirectory, "postgres"))).uid)
    const asNobody = ["--reuid=65534", "--regid=65534", "--clear-groups"]
    await expect(
      runCommand("setpriv", [...asNobody, "psql", "--host", dirname(running.socket), "-c", "select 1", running.user], {
        signal: never,
      }),
    ).rejects.toThrow(/Permission denied/)
  })

  test("that runs is taken over, with who is connected to it", async () => {
    await using cluster = await madeCluster()
    const first = await start(cluster)
    const pid = await postmaster(cluster)
    const sql = connect(first)
    await sql`create temporary table mine (value int)`
    expect(await start(cluster)).toEqual(first)
    expect(await postmaster(cluster)).toBe(pid)
    await sql`insert into mine values (1)`
    await sql.end()
  })

  test("keeps what it was told over a stop", async () => {
    await using cluster = await madeCluster()
    await ask(await start(cluster), "create table kept as select 7 as value")
    await stopPrivatePostgres(cluster.dataDirectory, cluster.hostId)
    expect(await processesOf(cluster.hostId)).toEqual([])
    expect(existsSync(`/run/torpor/postgres/${cluster.hostId.slice(0, 8)}`)).toBe(false)
    expect(await ask(await start(cluster), "select value from kept")).toBe("7")
  })

  test("is stopped under an open transaction, which is rolled back", async () => {
    await using cluster = await madeCluster()
    const running = await start(cluster)
    await ask(running, "create table kept (value int)")
    const sql = connect(running)
    await sql`begin`
    await sql`insert into kept values (1)`
    await stopPrivatePostgres(cluster.dataDirectory, cluster.hostId)
    await sql.end({ timeout: 0 })
    expect(await ask(await start(cluster), "select count(*) from kept")).toBe("0")
  })

  test("that isn't there is stopped without a word", async () => {
    await using cluster = await makeTestCluster()
    await stopPrivatePostgres(cluster.dataDirectory, cluster.hostId)
    expect(await readdir(cluster.dataDirectory)).toEqual([])
  })

  test("outlives whoever started it, and is in a session of its own", async () => {
    await using cluster = await madeCluster()
    const code = `
      import { startPrivatePostgres } from ${JSON.stringify(MODULE)}
      await startPrivatePostgres(${JSON.stringify(cluster.dataDirectory)}, "${cluster.hostId}", new AbortController().signal)
      process.stdout.write("started")
      setInterval(() => {}, 1000)`
    const daemon = spawn(process.execPath, ["--input-type=module", "-e", code], {
      stdio: ["ignore", "pipe", "inherit"],
      detached: true,
    })
    await once(daemon.stdout, "data")
    process.kill(-(daemon.pid ?? NaN), "SIGKILL")
    await once(daemon, "exit")
    const pid = await postmaster(cluster)
    expect(await ask(await start(cluster), "select 1")).toBe("1")
    expect(await postmaster(cluster)).toBe(pid)
    // The sixth field; behind the name, which may contain anything.
    const [, , , session] = ((await readFile(`/proc/${pid}/stat`, "utf8")).split(") ")[1] ?? "").split(" ")
    expect(Number(session)).toBe(pid)
  })
})

describe("After a crash", () => {
  test("a Postgres that was killed, while somebody was connected, is started again with all that it had promised", async () => {
    await using cluster = await madeCluster()
    const running = await start(cluster)
    const sql = connect(running)
    await sql`create table promised as select 7 as value`
    const pid = await postmaster(cluster)
    process.kill(pid, "SIGKILL")
    await untilGone(pid)
    const again = await start(cluster)
    expect(await ask(again, "select value from promised")).toBe("7")
    expect(await postmaster(cluster)).not.toBe(pid)
    await sql.end({ timeout: 0 })
  })

  test("what the killed one's processes are still at is ended: the next could not start beside it", async () => {
    await using cluster = await madeCluster()
    const sql = connect(await start(cluster))
    const endless = sql`do 'begin loop end loop; end'`.catch(() => "ended")
    const watch = connect(await start(cluster))
    const atWork = () => watch`select pid from pg_stat_activity where state = 'active' and query like 'do %'`
    await eventually(async () => expect(await atWork()).toHaveLength(1))
    const pid = await postmaster(cluster)
    process.kill(pid, "SIGKILL")
    await untilGone(pid)
    expect(await ask(await start(cluster), "select 1")).toBe("1")
    expect(await endless).toBe("ended")
    await Promise.all([sql.end({ timeout: 0 }), watch.end({ timeout: 0 })])
  })

  test("its lock file is believed neither when it says ready nor when its pid is another's by now", async () => {
    await using cluster = await madeCluster()
    await start(cluster)
    const pid = await postmaster(cluster)
    const file = join(cluster.dataDirectory, "postgres/postmaster.pid")
    const text = await readFile(file, "utf8")
    await stopPrivatePostgres(cluster.dataDirectory, cluster.hostId)
    // As after a restart of the machine: the pid is another process's of the same account.
    const { uid, gid } = await stat(join(cluster.dataDirectory, "postgres"))
    const innocent = spawn("sleep", ["1000"], { uid, gid })
    await once(innocent, "spawn")
    try {
      await writeFile(file, text.replace(String(pid), String(innocent.pid)))
      expect(await ask(await start(cluster), "select 1")).toBe("1")
      expect(innocent.exitCode).toBeNull()
    } finally {
      innocent.kill()
    }
  })

  test("a cluster that a killed first start left half-made is made anew", async () => {
    await using cluster = await makeTestCluster()
    const code = `
      import { startPrivatePostgres } from ${JSON.stringify(MODULE)}
      await startPrivatePostgres(${JSON.stringify(cluster.dataDirectory)}, "${cluster.hostId}", new AbortController().signal)`
    const daemon = spawn(process.execPath, ["--input-type=module", "-e", code], { stdio: "inherit" })
    const exit = once(daemon, "exit")
    // initdb writes the version first, and everything else after it.
    const isBegun = async () =>
      (await readdir(cluster.dataDirectory)).some((name) => existsSync(join(cluster.dataDirectory, name, "PG_VERSION")))
    await eventually(async () => expect(await isBegun()).toBe(true), { interval: 1 })
    daemon.kill("SIGKILL")
    await exit
    // The initdb that it started may still be at work meanwhile, as it would be.
    expect(await ask(await start(cluster), "select 6 * 7")).toBe("42")
    expect(await readdir(cluster.dataDirectory)).toEqual(["postgres"])
    // What the postmaster forks has its words for a moment.
    const alone = [await postmaster(cluster)]
    await eventually(async () => expect(await processesOf(cluster.hostId)).toEqual(alone))
  })

  test("an abort ends a first start, and leaves neither processes nor files", async () => {
    await using cluster = await makeTestCluster()
    const stop = new AbortController()
    const starting = start(cluster, stop.signal)
    const aborted = expect(starting).rejects.toThrow("enough")
    await eventually(async () => expect(await readdir(cluster.dataDirectory)).not.toEqual([]), { interval: 1 })
    stop.abort(new Error("enough"))
    await aborted
    expect(await readdir(cluster.dataDirectory)).toEqual([])
    expect(await processesOf(cluster.hostId)).toEqual([])
  })
})

describe("What cannot be started is said in one sentence", () => {
  const sentence = (words: RegExp) =>
    expect.objectContaining({ name: "OperatorError", message: expect.stringMatching(words) })

  test("an abort is an abort, and no missing package", async () => {
    await using cluster = await makeTestCluster()
    await expect(start(cluster, AbortSignal.abort(new Error("enough")))).rejects.toThrow("enough")
  })

  test("a directory that holds something else is left alone", async () => {
    await using cluster = await makeTestCluster()
    await mkdir(join(cluster.dataDirectory, "postgres"))
    await writeFile(join(cluster.dataDirectory, "postgres/letters"), "mine")
    await expect(start(cluster)).rejects.toThrow(sentence(/postgres holds no cluster of Postgres: .*move it away/))
    expect(await readFile(join(cluster.dataDirectory, "postgres/letters"), "utf8")).toBe("mine")
  })

  test("a cluster of a version that isn't installed names the package", async () => {
    await using cluster = await makeTestCluster()
    await mkdir(join(cluster.dataDirectory, "postgres"))
    await writeFile(join(cluster.dataDirectory, "postgres/PG_VERSION"), "9\n")
    await expect(start(cluster)).rejects.toThrow(
      sentence(/of Postgres 9, which is not installed \(\d+.* is\): install postgresql-9\.$/),
    )
  })

  test("a damaged cluster says what Postgres said, and nothing of it runs on", async () => {
    await using cluster = await madeCluster()
    await start(cluster)
    await stopPrivatePostgres(cluster.dataDirectory, cluster.hostId)
    await writeFile(join(cluster.dataDirectory, "postgres/global/pg_control"), "")
    await expect(start(cluster)).rejects.toThrow(sentence(/^The private Postgres did not start: .*pg_control/))
    expect(await processesOf(cluster.hostId)).toEqual([])
  })
})

/** The inodes of a process's sockets. */
const socketsOf = async (pid: number): Promise<Set<string>> => {
  const links = await Promise.all(
    (await readdir(`/proc/${pid}/fd`).catch(() => [])).map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => "")),
  )
  return new Set(links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []))
}
