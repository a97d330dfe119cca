/** Execution environments in real VMs: what one daemon begins and leaves behind, and the next goes on with. */
import { existsSync } from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"
import { text } from "node:stream/consumers"
import { asc, eq } from "drizzle-orm"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import type { Environment, EnvironmentAnswer, Environments } from "../../../machines/environments/environments.ts"
import { sweepHost } from "../../../machines/recovery.ts"
import { environments as rows } from "../../../src/db/environments.ts"
import { logChunks } from "../../../src/db/logs.ts"
import { audit } from "../../../src/db/schema.ts"
import { openVmHostUnderTest, type VmHostUnderTest } from "../../environments/vm-host-under-test.ts"
import { leaveEnvironments, type LeftBehind } from "./earlier-daemon.ts"
import { eventOf, openEnvironmentsUnderTest } from "./ground.ts"

let under: VmHostUnderTest
let left: LeftBehind
let environments: Environments & AsyncDisposable
let environment: Environment
const opened = new AsyncDisposableStack()

beforeAll(async () => {
  under = opened.use(await openVmHostUnderTest())
  left = await leaveEnvironments(under.place)
  await sweepHost(under.host)
  environments = opened.use(await openEnvironmentsUnderTest(under))
})
afterAll(() => opened.disposeAsync())

const rowOf = async (id: string) => {
  const [row] = await under.host.db.select().from(rows).where(eq(rows.id, id))
  if (row === undefined) throw new Error(`There is no environment ${id}`)
  return row
}
const liveOf = async () => {
  const live = under.host.live((await rowOf(environment.id)).vmId)
  if (live === undefined) throw new Error("The environment has no VM")
  return live
}
/** Resolves when its VM has been stopped. */
const untilFrozen = () => expect.poll(async () => (await liveOf()).vm.status()).toBe("paused")
const give = (payload: Record<string, unknown>, options: Parameters<typeof eventOf>[2] = {}) =>
  environment.invoke(eventOf("frozen", payload, options))
const whole = async (answer: EnvironmentAnswer) => {
  const body = await text(answer.body)
  const failure = await answer.end
  return {
    body: body === "" ? undefined : (JSON.parse(body) as Record<string, unknown>),
    failure: failure === undefined ? undefined : [failure.errorType, JSON.parse(String(failure.body)) as unknown],
    ...(await answer.settled),
  }
}

describe("An environment of an earlier daemon", () => {
  test("had been initialised, had answered its event, and had said so in AWS's lines", () => {
    expect(JSON.parse(left.frozen.answer)).toMatchObject({ events: 1, all: 1, key: "AKIAFUNCTION" })
    expect(left.frozen.initMs).toBeGreaterThan(0)
    expect(left.frozen.tail.split("\n").map((line) => line.split("\t")[0]?.replaceAll(/[\d.a-f-]{8,}/g, "…"))).toEqual([
      "START RequestId: … Version: $LATEST",
      "Event 1 does None",
      "END RequestId: …",
      "REPORT RequestId: …",
      "",
    ])
    expect(left.frozen.tail).toMatch(/\tInit Duration: [\d.]+ ms\t\n$/)
  })

  test("that was at an event is over with its caller; its Init had failed, and been told", async () => {
    expect(left.busy.initFailure).toBe("Runtime.ExitError")
    await expect.poll(async () => (await rowOf(left.busy.id)).state).toBe("TERMINATED")
    const { cause, stateReason } = await rowOf(left.busy.id)
    expect([cause, stateReason]).toEqual([
      "host",
      "The environment could not be taken over: the daemon ended while it was at an event",
    ])
  })

  test("that was frozen goes on where it was, with another time and another randomness", async () => {
    expect(environments.idle().map(({ id }) => id)).toEqual([left.frozen.id])
    environment = environments.idle()[0]!
    expect(environment.memoryMiB).toBeGreaterThan(384)
    await untilFrozen()
    const { body, failure, initMs, maxMemoryBytes, billedMs, durationMs } = await whole(give({}))
    expect(failure).toBeUndefined()
    const before = JSON.parse(left.frozen.answer) as Record<string, unknown>
    expect(body).toMatchObject({ events: 2, all: 2 })
    expect(body?.["random"]).not.toBe(before["random"])
    expect(Math.abs((body?.["time"] as number) * 1000 - Date.now())).toBeLessThan(30_000)
    expect(body?.["left"]).toBeGreaterThan(30_000)
    expect(initMs).toBeUndefined()
    expect(billedMs).toBe(Math.ceil(durationMs))
    expect(maxMemoryBytes).toBeGreaterThan(1024 ** 2)
  })
})

describe("An environment", () => {
  test("is frozen between events, writes nothing for them, and serves what is given meanwhile", async () => {
    const { generation } = await rowOf(environment.id)
    for (let events = 3; events <= 4; events++) {
      expect((await whole(give({}))).body).toMatchObject({ events })
      await untilFrozen()
    }
    await give({}).settled
    // At once, while it comes to rest.
    expect((await whole(give({}))).body).toMatchObject({ events: 6, all: 6 })
    expect((await rowOf(environment.id)).generation).toBe(generation)
  })

  test("tells an error of its function as that, and goes on", async () => {
    const failed = await whole(give({ do: "fail" }))
    expect(failed.failure).toEqual(["Function.Bad", { errorType: "Bad", errorMessage: "It was bad." }])
    expect((await whole(give({}))).body).toMatchObject({ events: 8 })
  })

  test("passes a stream on at its reader's pace, and is held up by none that goes away", async () => {
    const pieces = 20
    const slow = give({ do: "stream", pieces }, { mode: "streaming" })
    expect(await slow.head).toEqual({ contentType: "text/plain", isStreamed: true })
    let isOver = false
    void slow.settled.then(() => (isOver = true))
    // Nothing else is said of what doesn't happen.
    await sleep(500)
    expect(isOver).toBe(false)
    const body = await text(slow.body)
    const expected = Array.from({ length: pieces }, (_, index) => String.fromCodePoint(65 + (index % 26)).repeat(65536))
    expect(body === expected.join("")).toBe(true)
    await slow.settled

    const gone = give({ do: "stream", pieces: 40 }, { mode: "streaming" })
    await gone.head
    gone.body.destroy()
    expect(await gone.end).toBeUndefined()
    await gone.settled
    // Of a caller who takes it whole it is no stream.
    const buffered = give({ do: "stream", pieces: 2 })
    expect((await text(buffered.body)).length).toBe(2 * 65536)
    await buffered.settled
  })

  test("ends an event whose time is over, and begins again at once; /tmp is as it was", async () => {
    const late = await whole(give({ do: "hang" }, { timeoutMs: 5000 }))
    expect(late.failure).toEqual([
      "Sandbox.Timedout",
      {
        errorType: "Sandbox.Timedout",
        errorMessage: expect.stringMatching(/^RequestId: [\da-f-]{36} Error: Task timed out after 5\.00 seconds$/),
      },
    ])
    expect([late.durationMs, late.billedMs]).toEqual([5000, 5000])
    expect(String(late.tail)).toMatch(/Z [\da-f-]{36} Task timed out after 3\.00 seconds\nEND .*\tStatus: timeout\n$/s)
    await untilFrozen()
    const { body, initMs } = await whole(give({}))
    expect(body?.["events"]).toBe(1)
    expect(body?.["all"]).toBeGreaterThan(10)
    expect(initMs).toBeUndefined()
  })

  test("says how its runtime exited, and that an answer was too large; the next event is served", async () => {
    const exited = await whole(give({ do: "exit" }))
    expect(exited.failure?.[0]).toBe("Runtime.ExitError")
    expect(exited.failure?.[1]).toMatchObject({
      errorMessage: expect.stringMatching(/^RequestId: [\da-f-]{36} Error: Runtime exited with error: exit status 3$/),
    })
    expect(String(exited.tail)).toMatch(/\tStatus: error\tError Type: Runtime.ExitError\n$/)
    const large = await whole(give({ do: "large" }))
    expect(large.failure?.[0]).toBe("Function.ResponseSizeTooLarge")
    expect((await whole(give({}))).body).toMatchObject({ events: 2 })
  })

  test("sleeps deeply without a process, and wakes for its next event", async () => {
    await untilFrozen()
    environment.deflate()
    await expect.poll(async () => (await rowOf(environment.id)).state).toBe("SUSPENDED")
    expect(environment.memoryMiB).toBe(0)
    expect(await under.host.vmm.find()).toEqual([])
    expect((await whole(give({}))).body).toMatchObject({ events: 3 })
    expect(environment.memoryMiB).toBeGreaterThan(384)
  })

  test("that is ended takes no more, and leaves its lines and why it was", async () => {
    const cut = give({ do: "stream", pieces: 40 }, { mode: "streaming" })
    await cut.head
    environment.end("memory", "Others need the room.")
    expect(environment.isOver).toBe(true)
    await expect(give({}).head).rejects.toThrow("over")
    expect((await cut.end)?.errorType).toBe("Runtime.ExitError")
    await environment.over
    // Its last step is written a moment later.
    await expect.poll(async () => (await rowOf(environment.id)).state).toBe("TERMINATED")
    const row = await rowOf(environment.id)
    expect([row.cause, row.stateReason]).toEqual(["memory", "Others need the room."])
    // Of a function that nobody uses nothing is left but what it shares, its code, and a snapshot if it has one.
    expect([existsSync(under.host.directoryOf(row.vmId)), under.host.ledger.reservedMiB]).toEqual([false, 0])
    expect(await under.host.vmm.find()).toEqual([])
    const changes = await under.host.db.select().from(audit).orderBy(asc(audit.id))
    expect(
      changes.filter(({ details }) => details["environment"] === environment.id).map(({ action }) => action),
    ).toEqual(
      ["pending", "running", "suspending", "suspended", "running", "terminating", "terminated"].map(
        (state) => `environment.${state}`,
      ),
    )
    const chunks = await under.host.db
      .select()
      .from(logChunks)
      .where(eq(logChunks.logId, row.vmId))
      .orderBy(asc(logChunks.firstLine))
    const lines = chunks
      .flatMap(({ entries }) => entries.trimEnd().split("\n"))
      .map((line) => JSON.parse(line) as { stream: string; text: string })
    expect(lines.slice(0, 3).map(({ stream, text: said }) => [stream, said.split(" ", 2).join(" ")])).toEqual([
      ["platform", "INIT_START Runtime"],
      ["stdout", "The runtime"],
      ["platform", "START RequestId:"],
    ])
  })
})
