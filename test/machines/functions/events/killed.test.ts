import { spawn } from "node:child_process"
import { once } from "node:events"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { openDatabase } from "../../../../src/db/open.ts"
import { startPrivatePostgres } from "../../../../src/db/private-postgres.ts"
import { makeTestCluster, type TestCluster } from "../../../db/cluster.ts"
import { eventually } from "../../../fixtures/eventually.ts"
import { openHost, type HostUnderTest } from "./events-under-test.ts"

const PROGRAM = fileURLToPath(new URL("delivering-program.ts", import.meta.url))
const never = new AbortController().signal

let cluster: TestCluster
let host: HostUnderTest
beforeAll(async () => {
  cluster = await makeTestCluster()
  const { hostId } = cluster
  const opened = await openDatabase(cluster, never)
  host = await openHost({ db: opened.db, hostId, [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose]() })
})
afterAll(async () => {
  await host[Symbol.asyncDispose]()
  await cluster[Symbol.asyncDispose]()
})

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
})
