import { spawn } from "node:child_process"
import { once } from "node:events"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import fc from "fast-check"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { ServiceError } from "../../../../src/errors.ts"
import { openDatabase } from "../../../../src/db/open.ts"
import { startPrivatePostgres } from "../../../../src/db/private-postgres.ts"
import { makeTestCluster, type TestCluster } from "../../../db/cluster.ts"
import { putEmptyCluster } from "../../../db/empty-cluster.ts"
import { eventually } from "../../../fixtures/eventually.ts"
import { openHost, type EventsUnderTest, type HostUnderTest } from "./events-under-test.ts"
import { thrown } from "./scripted-invoker.ts"

const PROGRAM = fileURLToPath(new URL("delivering-program.ts", import.meta.url))
const never = new AbortController().signal

let cluster: TestCluster
let host: HostUnderTest
beforeAll(async () => {
  cluster = await makeTestCluster()
  await putEmptyCluster(cluster.dataDirectory)
  const { hostId } = cluster
  const opened = await openDatabase(cluster, never)
  host = await openHost({ db: opened.db, hostId, [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose]() })
})
afterAll(async () => {
  await host[Symbol.asyncDispose]()
  await cluster[Symbol.asyncDispose]()
})

/** What the function makes of one event, try by try; after that it succeeds. */
const tries = fc.array(fc.constantFrom("fails", "throttled", "away", "never answers"), { maxLength: 4 })
const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ accept: fc.nat({ max: 2 }), tries }) },
  { weight: 1, arbitrary: fc.constant("crash" as const) },
  { weight: 1, arbitrary: fc.constant("wait" as const) },
)

interface Life {
  readonly tries: string[]
  failures: number
  successes: number
}

/** Request ids that a file has behind a word. */
const idsIn = (text: string, word: string) =>
  text
    .split("\n")
    .filter((line) => line.startsWith(`${word} `) && line.length === word.length + 37)
    .map((line) => line.slice(word.length + 1))

describe("Every event that was accepted is delivered at least once", () => {
  it("though the daemon is killed while it takes events in and delivers them", async () => {
    const name = await host.make()
    const file = join(cluster.dataDirectory, "written-down")
    const text = () => readFile(file, "utf8").catch(() => "")
    for (let life = 1; life <= 3; life++) {
      const child = spawn(process.execPath, [PROGRAM, cluster.dataDirectory, cluster.hostId, name, file], {
        stdio: "inherit",
      })
      const ended = once(child, "exit")
      await eventually(async () => {
        expect(child.exitCode).toBeNull()
        const written = await text()
        expect(idsIn(written, "accepted").length).toBeGreaterThan(life * 100)
        expect(idsIn(written, "delivered").length).toBeGreaterThan(life * 30)
      })
      child.kill("SIGKILL")
      await ended
    }
    const left = await host.waiting(name)
    const delivered = new Set<string>()
    await using under = await host.open(({ requestId }) => {
      delivered.add(requestId)
      return Promise.resolve(Buffer.from("null"))
    })
    expect(under.lines).toEqual([])
    await host.untilEmpty(name)
    const written = await text()
    for (const id of idsIn(written, "delivered")) delivered.add(id)
    expect(idsIn(written, "accepted").filter((id) => !delivered.has(id))).toEqual([])
    expect(left).toBeGreaterThan(0)
  })

  it("though Postgres is killed meanwhile, and is away for a while", async () => {
    const name = await host.make()
    const [accepted, delivered] = [new Set<string>(), new Set<string>()]
    await using under = await host.open(async ({ requestId }) => {
      await new Promise((resolve) => setTimeout(resolve, 5))
      delivered.add(requestId)
      return Buffer.from("null")
    })
    let [isOver, failures] = [false, 0]
    const takeIn = async () => {
      while (!isOver) {
        await under.accept(name).then(
          (requestId) => accepted.add(requestId),
          () => failures++,
        )
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    }
    const intake = Promise.all(Array.from({ length: 8 }, takeIn))
    const hundredMore = async () => {
      const before = accepted.size
      await eventually(() => expect(accepted.size).toBeGreaterThan(before + 100), { interval: 5 })
    }
    await hundredMore()
    const pid = Number((await readFile(join(cluster.dataDirectory, "postgres/postmaster.pid"), "utf8")).split("\n")[0])
    process.kill(pid, "SIGKILL")
    await eventually(() => expect(failures).toBeGreaterThan(0))
    await startPrivatePostgres(cluster.dataDirectory, cluster.hostId, never)
    await hundredMore()
    isOver = true
    await intake
    await host.untilEmpty(name)
    expect([...accepted].filter((id) => !delivered.has(id))).toEqual([])
  })

  it("whatever functions do and whenever the daemon ends, or is given up after as many failures as it may have", async () => {
    const names = await Promise.all([0, 1, 2].map(() => host.make()))
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        const lives = new Map<string, Life>()
        const open = () =>
          host.open(({ payload }) => {
            const life = lives.get(payload.toString())
            if (life === undefined) return Promise.reject(new Error("An event that nobody has sent"))
            const next = life.tries.shift()
            if (next === "throttled")
              return Promise.reject(new ServiceError("TooManyRequestsException", 429, "Rate Exceeded."))
            if (next === "away") return Promise.reject(new Error("away"))
            if (next === "never answers") return new Promise(() => {})
            if (next === "fails") life.failures++
            else life.successes++
            return Promise.resolve(next === "fails" ? thrown("no") : Buffer.from("null"))
          })
        let under: EventsUnderTest = await open()
        for (const [index, one] of steps.entries()) {
          if (one === "wait") await new Promise((resolve) => setTimeout(resolve, 20))
          else if (one === "crash") {
            await under.events.close(0)
            under = await open()
          } else {
            const key = JSON.stringify(index)
            lives.set(key, { tries: [...one.tries], failures: 0, successes: 0 })
            await under.accept(names[one.accept] ?? "", key)
          }
        }
        // What never answers is given up by an end of the daemon alone: each such end frees what waits for it.
        for (const life of lives.values())
          life.tries.splice(0, Infinity, ...life.tries.filter((next) => next !== "never answers"))
        await under.events.close(0)
        await using last = await open()
        for (const name of names) await host.untilEmpty(name)
        for (const { failures, successes } of lives.values()) {
          expect(successes > 0 || failures >= 3).toBe(true)
        }
        await eventually(async () => expect(await last.metrics.metrics()).toContain("torpor_events_waiting 0"))
      }),
      { numRuns: 15 },
    )
  })
})
