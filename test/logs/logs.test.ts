import { randomUUID } from "node:crypto"
import { eq, sql } from "drizzle-orm"
import { pino } from "pino"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { registerHost } from "../../src/db/identity.ts"
import { logChunks, logGroups, logs as logTable } from "../../src/db/logs.ts"
import type { LogEntry } from "../../src/logs/entry.ts"
import { createLogs, type LogLimits, type Logs } from "../../src/logs/logs.ts"
import { createLogReader } from "../../src/logs/reader.ts"
import { positionAt } from "../../src/logs/position.ts"
import { openTestDatabase, type TestDatabase } from "../db/database.ts"

let database: TestDatabase
beforeAll(async () => {
  database = await openTestDatabase()
  await registerHost(database.db, database.hostId, "test")
})
afterAll(() => database?.[Symbol.asyncDispose]())

const limits: LogLimits = { bytesPerLog: 8 * 1024 ** 2, bytesPerGroup: 1024 ** 3, bytesPerHost: 1024 ** 3, days: 7 }
const warnings: string[] = []
const operatorLog = pino({ level: "warn" }, { write: (line: string) => void warnings.push(line) })
const open = (more: Partial<LogLimits> = {}) =>
  createLogs({ ...database, limits: { ...limits, ...more }, log: operatorLog })
const { signal } = new AbortController()
const address = (group: string, stream = "s") => ({ account: "000000000000", region: "eu-central-1", group, stream })

let logs: Logs
let id: string
beforeEach(async () => {
  logs = open()
  id = randomUUID()
  await logs.create(database.db, id, address("a"))
})
afterEach(async () => {
  await logs[Symbol.asyncDispose]()
  await database.db.delete(logTable)
  await database.db.delete(logGroups)
})

/** All of a log, read in pages. */
const readAll = async (of: Logs, log: string, page = 1000): Promise<LogEntry[]> => {
  const all: LogEntry[] = []
  for (let from = 0; ;) {
    const { entries, next } = await of.reader(log).read(from, page)
    all.push(...entries)
    if (entries.length < page) return all
    from = next
  }
}
const texts = async (log = id, of = logs) => (await readAll(of, log)).map(({ stream, text }) => `${stream} ${text}`)
const storedBytes = async (log = id) => {
  const [row] = await database.db
    .select({ bytes: sql<number>`coalesce(sum(octet_length(entries)), 0)::int` })
    .from(logChunks)
    .where(eq(logChunks.logId, log))
  return row?.bytes
}
const write = async (of: Logs, log: string, ...words: string[]) => {
  const writer = of.writer(log)
  for (const text of words) writer.add("stdout", text)
  await writer.close()
}

describe("A log", () => {
  test("keeps the lines of each stream, numbered in the order in which they ended", async () => {
    const writer = logs.writer(id)
    writer.add("stdout", "one\ntw")
    writer.add("stderr", "an error\nwithout ")
    writer.add("stdout", "o\n\nthree\0\u2028\n")
    writer.add("stderr", "end")
    await writer.close()
    const all = await readAll(logs, id)
    expect(all.map(({ line, stream, text }) => [line, stream, text])).toEqual([
      [0, "stdout", "one"],
      [1, "stderr", "an error"],
      [2, "stdout", "two"],
      [3, "stdout", ""],
      [4, "stdout", "three\0\u2028"],
      [5, "stderr", "without end"],
    ])
    for (const { at } of all) expect(new Date(at).toISOString()).toBe(at)
  })

  test("goes on where it was, by another writer and another daemon", async () => {
    await write(logs, id, "one\n", "two\n")
    await write(logs, id, "three\n")
    await using later = open()
    await write(later, id, "four\n")
    expect((await readAll(later, id)).map(({ line, text }) => [line, text])).toEqual([
      [0, "one"],
      [1, "two"],
      [2, "three"],
      [3, "four"],
    ])
  })

  test("stays in the order of its times when the clock is set back", async () => {
    await write(logs, id, "one\n")
    const ahead = new Date(Date.now() + 3_600_000)
    await database.db.update(logChunks).set({ lastAt: ahead }).where(eq(logChunks.logId, id))
    await write(logs, id, "two\n", "three\n")
    expect((await readAll(logs, id)).slice(1).map(({ at }) => at)).toEqual([ahead.toISOString(), ahead.toISOString()])
  })

  test("that wasn't created, or has ended, keeps nothing", async () => {
    const other = randomUUID()
    expect(await logs.writer(other).isKept()).toBe(false)
    await write(logs, other, "nothing\n")
    expect(await texts(other)).toEqual([])
    await write(logs, id, "one\n")
    await logs.end(id)
    await write(logs, id, "two\n")
    expect(await texts()).toEqual(["stdout one"])
  })

  test("is read from any line on, in pages of any size", async () => {
    await write(
      logs,
      id,
      Array.from({ length: 5000 }, (_, line) => `line ${line} ${"x".repeat(line % 300)}\n`).join(""),
    )
    const all = await readAll(logs, id)
    expect(all.map(({ line }) => line)).toEqual(Array.from({ length: 5000 }, (_, line) => line))
    expect(await readAll(logs, id, 70)).toEqual(all)
    for (const from of [0, 1, 1234, 4999])
      expect((await logs.reader(id).read(from, 3)).entries).toEqual(all.slice(from, from + 3))
    expect(await logs.reader(id).read(5000, 3)).toEqual({ entries: [], next: 5000 })
    expect(await logs.reader(id).read(2 ** 30, 3)).toEqual({ entries: [], next: 2 ** 30 })
  })

  test("that grows past its limit loses its oldest lines, and says how many", async () => {
    await using small = open({ bytesPerLog: 100_000 })
    const writer = small.writer(id)
    for (let line = 0; line < 20_000; line++) writer.add("stdout", `line ${line}\n`)
    await writer.close()
    const [notice, ...kept] = await readAll(small, id)
    expect(notice?.text).toBe(`[${20_000 - kept.length} lines are not kept]`)
    expect(kept.map(({ text }) => text)).toEqual(kept.map((_, index) => `line ${20_000 - kept.length + index}`))
    expect(await storedBytes()).toBeLessThan(100_000)
    expect(await storedBytes()).toBeGreaterThan(80_000)
  })

  test("of a build that grows past its limit keeps its beginning and its end, and says how much is missing", async () => {
    await using small = open({ bytesPerLog: 100_000 })
    const writer = small.writer(id, "both ends")
    for (let line = 0; line < 20_000; line++) writer.add("stdout", `line ${line}\n`)
    await writer.close()
    const all = await readAll(small, id)
    const gap = all.findIndex(({ stream }) => stream === "notice")
    const missing = 20_000 - (all.length - 1)
    expect(all[gap]?.text).toBe(`[${missing} lines are not kept]`)
    expect(all.slice(0, gap).map(({ text }) => text)).toEqual(Array.from({ length: gap }, (_, line) => `line ${line}`))
    expect(all.slice(gap + 1).map(({ text, line }) => [text, line])).toEqual(
      Array.from({ length: all.length - gap - 1 }, (_, index) => [
        `line ${gap + missing + index}`,
        gap + missing + index,
      ]),
    )
    expect(gap).toBeGreaterThan(0)
    expect(all.length - gap).toBeGreaterThan(gap)
    expect(await storedBytes()).toBeLessThan(100_000)
    // From the middle of what is missing, and page by page over it.
    expect((await small.reader(id).read(gap + 10, 2)).entries.map(({ line }) => line)).toEqual([
      gap + 10,
      gap + missing,
    ])
    expect(await readAll(small, id, 20)).toEqual(all)
  })

  test("survives that Postgres refuses it for a while", async () => {
    const writer = logs.writer(id)
    expect(await writer.isKept()).toBe(true)
    await database.db.execute(sql`alter table log_chunks rename to log_chunks_away`)
    writer.add("stdout", "while it was away\n")
    await expect.poll(() => warnings.join()).toContain("could not be stored")
    await database.db.execute(sql`alter table log_chunks_away rename to log_chunks`)
    writer.add("stdout", "afterwards\n")
    await writer.close()
    expect(await texts()).toEqual(["stdout while it was away", "stdout afterwards"])
  })
})

describe("Who follows a log", () => {
  test("is woken by every line and told of the end", async () => {
    const reader = logs.reader(id)
    const writer = logs.writer(id)
    const first = reader.more(0, signal)
    writer.add("stdout", "one\n")
    expect(await first).toBe(true)
    expect((await reader.read(0, 10)).entries.map(({ text }) => text)).toEqual(["one"])
    const second = reader.more(1, signal)
    writer.add("stderr", "two\n")
    expect(await second).toBe(true)
    const third = reader.more(2, signal)
    await writer.close()
    await logs.end(id)
    expect(await third).toBe(false)
    expect(await reader.more(1, signal)).toBe(true)
    expect(await reader.more(2, signal)).toBe(false)
    expect(await logs.reader(randomUUID()).more(0, signal)).toBe(false)
  })

  test("lets go when it is aborted", async () => {
    const abort = new AbortController()
    const waiting = logs.reader(id).more(0, abort.signal)
    abort.abort(new Error("gone"))
    await expect(waiting).rejects.toThrow("gone")
  })

  test("is forgotten once they are answered or aborted, however many logs they followed", async () => {
    let listening = 0
    const reader = createLogReader(database.db, id, () => {
      listening += 1
      return () => void (listening -= 1)
    })
    const abort = new AbortController()
    const waiting = reader.more(0, abort.signal)
    expect(listening).toBe(1)
    abort.abort(new Error("gone"))
    await expect(waiting).rejects.toThrow("gone")
    await logs.end(id)
    expect(await reader.more(0, signal)).toBe(false)
    expect(listening).toBe(0)
  })
})

describe("Who follows a group", () => {
  test("gets all that was said while they were slow, and is let go when they are aborted", async () => {
    const [group] = await logs.archive.groups(address("a"), { names: ["a"] }, { after: undefined, limit: 1 })
    const abort = new AbortController()
    const wanted = { groupId: group!.id, streams: {}, from: positionAt(0) }
    const events = logs.archive.follow(wanted, abort.signal)
    await write(logs, id, "first\n")
    expect((await events.next()).value).toMatchObject({ text: "first", stream: "s" })
    const next = events.next()
    await write(logs, id, "second\n")
    expect((await next).value).toMatchObject({ text: "second" })
    await write(logs, id, ...Array.from({ length: 5000 }, (_, line) => `${line} ${"x".repeat(100)}\n`))
    for (let line = 0; line < 5000; line++)
      expect(((await events.next()).value as { text: string }).text.split(" ")[0]).toBe(String(line))
    const waiting = events.next()
    abort.abort(new Error("gone"))
    await expect(waiting).rejects.toThrow("gone")
  })
})

describe("A host's logs", () => {
  const sweep = async (more: Partial<LogLimits> = {}) => {
    await using swept = open(more)
    swept.beginRetention()
  }
  const age = async (log: string, days: number) => {
    const past = sql`now() - make_interval(days => ${days})`
    await database.db.update(logChunks).set({ at: past, lastAt: past }).where(eq(logChunks.logId, log))
    await database.db.execute(sql`update logs set ended_at = ${past} where id = ${log} and ended_at is not null`)
  }
  const another = (...words: string[]) => inGroup("b", ...words)
  const inGroup = async (group: string, ...words: string[]) => {
    const log = randomUUID()
    await logs.create(database.db, log, address(group, log))
    for (const text of words) await write(logs, log, text)
    return log
  }

  test("go when they are too old, but not the end of one that goes on", async () => {
    const [old, live, fresh] = [await another("old\n"), await another("old\n", "newer\n"), await another("fresh\n")]
    await logs.end(old)
    await logs.end(fresh)
    await age(old, 8)
    await age(live, 8)
    await age(fresh, 6)
    await sweep()
    expect(await texts(old)).toEqual([])
    expect(await texts(live)).toEqual(["notice [1 lines are not kept]", "stdout newer"])
    expect(await texts(fresh)).toEqual(["stdout fresh"])
    const rows = await database.db.select({ id: logTable.id }).from(logTable)
    expect(rows.map((row) => row.id).toSorted()).toEqual([id, live, fresh].toSorted())
  })

  test("lose the oldest when they are too much together", async () => {
    const line = `${"x".repeat(1000)}\n`
    const [first, second] = [await another(...Array(10).fill(line)), await another(...Array(10).fill(line))]
    await age(first, 1)
    await logs.end(first)
    await sweep({ bytesPerHost: 16_000 })
    expect((await texts(second)).length).toBe(10)
    const kept = await texts(first)
    expect(kept[0]).toMatch(/^notice \[\d lines are not kept\]$/)
    expect(kept.length).toBeLessThan(8)
  })

  test("share a limit with those of their group alone", async () => {
    const line = `${"x".repeat(1000)}\n`
    const [old, fresh] = [
      await inGroup("loud", ...Array(10).fill(line)),
      await inGroup("loud", ...Array(10).fill(line)),
    ]
    const neighbour = await inGroup("quiet", ...Array(10).fill(line))
    await age(old, 2)
    await age(neighbour, 3)
    for (const log of [old, fresh, neighbour]) await logs.end(log)
    await sweep({ bytesPerGroup: 16_000 })
    expect((await texts(fresh)).length).toBe(10)
    expect((await texts(neighbour)).length).toBe(10)
    const kept = await texts(old)
    expect(kept[0]).toMatch(/^notice \[\d lines are not kept\]$/)
    expect(kept.length).toBeLessThan(8)
  })

  test("are swept by the writing of a flood itself, while it goes on", async () => {
    await using small = open({ bytesPerGroup: 100_000 })
    const writer = small.writer(id)
    for (let line = 0; line < 5000; line++) writer.add("stdout", `${line} ${"x".repeat(200)}\n`)
    await writer.close()
    await expect.poll(() => storedBytes()).toBeLessThan(100_000)
    expect((await texts(id, small)).at(-1)).toMatch(/^stdout 4999 /)
  })

  test("leave no group behind that is empty and old", async () => {
    const [old] = [await inGroup("gone", "old\n")]
    await logs.end(old)
    await age(old, 8)
    await database.db.execute(sql`update log_groups set created_at = now() - interval '8 days'`)
    await sweep()
    const rows = await database.db.select({ name: logGroups.name }).from(logGroups)
    expect(rows.map(({ name }) => name)).toEqual(["a"])
  })
})
