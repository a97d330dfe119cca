/** Versions' snapshots in real virtual machines: an Init that takes long is done once for all environments that follow. */
import { execFileSync } from "node:child_process"
import { readdirSync, truncateSync } from "node:fs"
import { join } from "node:path"
import {
  DeleteFunctionCommand,
  GetFunctionConfigurationCommand,
  PublishVersionCommand,
  waitUntilFunctionActiveV2,
  type LambdaClient,
} from "@aws-sdk/client-lambda"
import { afterAll, beforeAll, expect, test } from "vitest"
import type { StorageUse } from "../../../machines/resources.ts"
import type { Failpoint } from "../../../src/failpoint.ts"
import { processesOf, startTestDaemon, type TestDaemon } from "../../fixtures/daemon.ts"
import { deploy, invoke, openLambda } from "../../fixtures/functions.ts"

const CODE = `
import os, random, secrets, time
from snapshot_restore_py import register_after_restore, register_before_snapshot
time.sleep(3)
EVENTS, HOOKS = [], []
BORN = secrets.token_hex(8)
random.random()
register_before_snapshot(HOOKS.append, "before")
register_after_restore(HOOKS.append, "after")
def handler(event, context):
    EVENTS.append(event["n"])
    time.sleep(200 if BORN in event.get("busy", []) else event.get("hold", 0))
    return {
        "born": BORN, "events": EVENTS, "hooks": HOOKS,
        "random": [random.random(), secrets.token_hex(8), open("/proc/sys/kernel/random/boot_id").read()],
        "time": time.time(),
        "type": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], "stream": context.log_stream_name,
    }
`
interface Said {
  readonly born: string
  readonly events: number[]
  readonly hooks: string[]
  readonly random: (number | string)[]
  readonly time: number
  readonly type: string
  readonly stream: string
}
/** With the host's time when it came, in ms. */
interface Heard extends Said {
  readonly log: string
  readonly heardAt: number
}

const TORPOR = new URL("../../../src/cli/torpor", import.meta.url).pathname

const opened = new AsyncDisposableStack()
let daemon: TestDaemon
/** Of environments of `slow`, by their Inits. */
const born: string[] = []
let lambda: LambdaClient
beforeAll(async () => {
  const environments = { maxWarmVms: 0, initSeconds: 120, versionSnapshots: {} }
  daemon = opened.use(await startTestDaemon({}, { environments }))
  lambda = await openLambda(daemon)
  opened.defer(() => lambda.destroy())
  const more = { Handler: "app.handler", Timeout: 300 }
  await deploy(lambda, "slow", "python3.13", { "app.py": CODE }, more)
  await deploy(
    lambda,
    "unwilling",
    "python3.13",
    { "app.py": CODE },
    { ...more, Environment: { Variables: { TORPOR_SNAPSHOTS: "off" } } },
  )
})
afterAll(() => opened.disposeAsync())

const directory = () => join(daemon.directory, "functions/snapshots")
const snapshots = () => readdirSync(directory())
const made = () => daemon.lines.filter((line) => line.includes("A function has a snapshot"))
const said = async (event: object): Promise<Heard> => {
  const { payload, log, error } = await invoke(lambda, "slow", event)
  expect(error, log).toBeUndefined()
  return { ...(payload as Said), log, heardAt: Date.now() }
}

/** What so many fresh environments say beside those of `busy`, of which `kept` are kept at their events. */
const others = async (busy: string[], kept: number, count: number): Promise<Heard[]> => {
  const answers: Heard[] = []
  const enough = Promise.withResolvers<void>()
  const ask = async (holdSeconds: number): Promise<void> => {
    const answer = await said({ n: 0, busy, hold: holdSeconds })
    if (answers.length === count) return
    if (answer.events.length === 1 && !busy.includes(answer.born)) {
      if (answers.push(answer) === count) enough.resolve()
      return
    }
    // Of one that was free again before all had begun: on a slow machine they are to be held for longer.
    await Promise.all([ask(2 * holdSeconds), ask(2 * holdSeconds)])
  }
  // Those that are kept are cut off at the end.
  for (let asked = 0; asked < count + kept; asked++) ask(8).catch(enough.reject)
  await enough.promise
  return answers
}

test("The second environment of a function whose Init takes long is restored, in its own time and with its own randomness", async () => {
  await invoke(lambda, "unwilling", { n: 0 })
  const first = await said({ n: 1 })
  expect(first).toMatchObject({ events: [1], hooks: [], type: "on-demand" })
  expect(first.log).toMatch(/\tInit Duration: [\d.]+ ms\t$/m)
  await expect.poll(() => made().length, { timeout: 300_000 }).toBe(1)
  expect(snapshots().length).toBe(1)

  born.push(first.born)
  const siblings = await others([first.born], 1, 2)
  const [one, two] = siblings
  if (one === undefined || two === undefined) throw new Error("There are too few environments")
  for (const sibling of siblings) {
    // Nothing of anybody's event, but all of an Init that was another's.
    expect(sibling.events.length).toBe(1)
    expect(sibling).toMatchObject({ hooks: ["before", "after"], type: "snap-start", born: one.born })
    expect(Math.abs(sibling.time * 1000 - sibling.heardAt)).toBeLessThan(60_000)
    expect(sibling.log).toMatch(/\tRestore Duration: [\d.]+ ms\tBilled Restore Duration: \d+ ms\t$/m)
    expect(sibling.log).not.toContain("Init Duration")
  }
  expect(one.born).not.toBe(first.born)
  born.push(one.born)
  expect(one.stream).not.toBe(two.stream)
  for (const [index, number] of one.random.entries()) expect(number).not.toBe(two.random[index])
}, 900_000)

test("A snapshot that is spoilt is removed, and costs an Init", async () => {
  const spoilt = snapshots()
  expect(spoilt.length).toBe(1)
  for (const name of spoilt) {
    const delta = readdirSync(join(directory(), name)).find((file) => file.startsWith("delta-")) ?? ""
    truncateSync(join(directory(), name, delta), 100_000)
  }
  const [other] = await others(born, 2, 1)
  expect(other).toMatchObject({ hooks: [], type: "on-demand" })
  expect(other?.events.length).toBe(1)
  await expect.poll(snapshots).not.toContain(spoilt[0])
  await lambda.send(new DeleteFunctionCommand({ FunctionName: "slow" }))
}, 900_000)

/** The daemon dies at a point of what it does already, or will do next, and another follows. */
const dieAt = async (point: Failpoint, act?: () => Promise<unknown>) => {
  lambda.destroy()
  // It may be there before it serves.
  await daemon.restart("SIGKILL", { TORPOR_FAIL_AT: point }).catch((error: unknown) => {
    if (act !== undefined) throw error
  })
  lambda = await openLambda(daemon)
  await Promise.all([act?.(), daemon.ended])
}

test("A version that is published with SnapStart begins with a restore, though daemons died while its snapshot was made, and tells an Init that fails", async () => {
  await lambda.send(new DeleteFunctionCommand({ FunctionName: "unwilling" }))
  const SnapStart = { ApplyOn: "PublishedVersions" } as const
  const more = { Handler: "app.handler", Timeout: 60, SnapStart }
  await deploy(lambda, "asked", "python3.13", { "app.py": CODE.replace("sleep(3)", "sleep(0)") }, more)
  const asked = () => lambda.send(new PublishVersionCommand({ FunctionName: "asked" }))
  await dieAt("snapshot: initialised", asked)
  // The next daemon makes it unasked, and dies when all but its row is there.
  await dieAt("snapshot: written")
  const unfinished = snapshots()
  expect(unfinished.length).toBe(1)
  lambda.destroy()
  await daemon.restart("SIGKILL")
  lambda = await openLambda(daemon)
  const version = { FunctionName: "asked", Qualifier: "1" }
  await waitUntilFunctionActiveV2({ client: lambda, maxWaitTime: 300, minDelay: 1, maxDelay: 1 }, version)
  expect(snapshots().length).toBe(1)
  expect(snapshots()).not.toEqual(unfinished)
  // Those of other functions end with them.
  const left = () => [...processesOf(daemon.hostId.slice(0, 8)), ...readdirSync(join(daemon.directory, "vms"))]
  await expect.poll(left, { timeout: 300_000 }).toEqual([])

  const environment = { ...process.env, TORPOR_DATA_DIR: daemon.directory, TORPOR_API_PORT: String(daemon.apiPort) }
  const usage = JSON.parse(
    execFileSync(TORPOR, ["images", "df", "--json"], { encoding: "utf8", env: environment }),
  ) as StorageUse[]
  const counts = new Map(usage.map(({ kind, count, bytes }) => [kind, bytes > 0 ? count : 0]))
  expect(counts).toEqual(new Map([...counts, ["runtimes", 1], ["function-snapshots", 1]]))
  // Its code, and the file that all `/tmp` begin as.
  expect(counts.get("function-disks")).toBeGreaterThanOrEqual(2)
  const { payload, log } = await invoke(lambda, "asked", { n: 1 }, { Qualifier: "1" })
  expect(payload, log).toMatchObject({ events: [1], hooks: ["before", "after"], type: "snap-start" })
  expect(log).toMatch(/\tRestore Duration: [\d.]+ ms\t/)
  await lambda.send(new DeleteFunctionCommand({ FunctionName: "asked" }))
  await expect.poll(snapshots, { timeout: 300_000 }).toEqual([])

  await deploy(lambda, "broken", "python3.13", { "app.py": "1 / 0" }, { Handler: "app.handler", SnapStart })
  await lambda.send(new PublishVersionCommand({ FunctionName: "broken" }))
  const broken = async () =>
    lambda.send(new GetFunctionConfigurationCommand({ FunctionName: "broken", Qualifier: "1" }))
  await expect.poll(async () => (await broken()).State, { timeout: 300_000 }).toBe("Failed")
  expect(await broken()).toMatchObject({
    StateReasonCode: "FunctionError.RuntimeInitError",
    StateReason: "The function's initialization failed: Runtime.Unknown.",
  })
}, 900_000)
