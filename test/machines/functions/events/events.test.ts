import { randomUUID } from "node:crypto"
import { eq } from "drizzle-orm"
import { pino } from "pino"
import { Registry } from "prom-client"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { openEvents, type EventsOptions, type OpenEvents } from "../../../../machines/functions/events/open-events.ts"
import type { InvokeRequest } from "../../../../machines/functions/invoking/invoker.ts"
import { functionEvents, functions } from "../../../../src/db/functions.ts"
import { ServiceError } from "../../../../src/errors.ts"
import { registerHost } from "../../../../src/db/identity.ts"
import { openTestDatabase, type TestDatabase } from "../../../db/database.ts"
import { eventually } from "../../../fixtures/eventually.ts"
import { insertFunction, scope } from "./function-rows.ts"
import { createScriptedInvoker, thrown, type Script } from "./scripted-invoker.ts"

let database: TestDatabase
beforeAll(async () => {
  database = await openTestDatabase()
  await registerHost(database.db, database.hostId, "here")
})
afterAll(() => database[Symbol.asyncDispose]())

const MiB = 1024 ** 2
const done: Script = () => Promise.resolve(Buffer.from("null"))
const throttled = () => new ServiceError("TooManyRequestsException", 429, "Rate Exceeded.")

interface Under extends AsyncDisposable {
  readonly events: OpenEvents
  readonly metrics: Registry
  readonly lines: Record<string, unknown>[]
  accept(name: string, payload?: string, qualifier?: string): Promise<string>
}

/** The queue of a host, with functions that do what the script says. */
const open = async (script: Script, more: Partial<EventsOptions> = {}): Promise<Under> => {
  const metrics = new Registry()
  const lines: Record<string, unknown>[] = []
  const events = await openEvents({
    db: database.db,
    hostId: database.hostId,
    log: pino({ level: "info" }, { write: (line: string) => void lines.push(JSON.parse(line) as (typeof lines)[0]) }),
    invoker: createScriptedInvoker(script),
    destinations: { webhooks: {} },
    limits: { eventsPerFunction: 1000, bytesPerFunction: 100 * MiB, events: 5000, bytes: 100 * MiB },
    maxInFlight: 16,
    metrics,
    pace: { retryMs: [30, 60], firstHoldMs: 10, longestHoldMs: 50 },
    ...more,
  })
  return {
    events,
    metrics,
    lines,
    async accept(name, payload = "{}", qualifier) {
      const requestId = randomUUID()
      await events.intake.accept({ requestId, target: { name, qualifier }, scope, payload: Buffer.from(payload) })
      return requestId
    },
    [Symbol.asyncDispose]: () => events.close(10),
  }
}

const make = (more?: Parameters<typeof insertFunction>[3]) => {
  const name = `f-${randomUUID().slice(0, 8)}`
  return insertFunction(database.db, database.hostId, name, more).then(() => name)
}
const waiting = async (name: string) =>
  (
    await database.db
      .select({ position: functionEvents.position })
      .from(functionEvents)
      .where(eq(functionEvents.functionName, name))
  ).length
const untilEmpty = (name: string) => eventually(async () => expect(await waiting(name)).toBe(0), { interval: 10 })

describe("An asynchronous event", () => {
  it("is stored when it is accepted, and given to the function as it came", async () => {
    const given = Promise.withResolvers<InvokeRequest>()
    await using under = await open((request) => {
      given.resolve(request)
      return done(request, AbortSignal.abort())
    })
    const name = await make()
    const requestId = await under.accept(name, '{"n":1.00}')
    const { target, payload, ...request } = await given.promise
    expect(request).toMatchObject({ requestId, scope, mode: "buffered" })
    expect(target).toEqual({ name, qualifier: undefined })
    expect(payload.toString()).toBe('{"n":1.00}')
    await untilEmpty(name)
  })

  it("is refused without its function, above a megabyte, and where as much waits as may", async () => {
    const limits = { eventsPerFunction: 2, bytesPerFunction: 2 * MiB, events: 3, bytes: 3 * MiB }
    await using under = await open(() => Promise.reject(throttled()), { limits })
    const [name, other] = [await make(), await make()]
    const refusal = (call: Promise<unknown>) =>
      call.then(
        () => "accepted",
        ({ status, code, members: { Reason } }: ServiceError) =>
          `${status} ${code}${typeof Reason === "string" ? ` ${Reason}` : ""}`,
      )
    expect(await refusal(under.accept("nobody"))).toBe("404 ResourceNotFoundException")
    expect(await refusal(under.accept(name, " ".repeat(MiB + 1)))).toBe("413 RequestEntityTooLargeException")
    await under.accept(name)
    await under.accept(name, " ".repeat(MiB))
    const tooMany = "429 TooManyRequestsException FunctionInvocationRateLimitExceeded"
    expect(await refusal(under.accept(name))).toBe(tooMany)
    await under.accept(other)
    expect(await refusal(under.accept(other))).toBe("429 TooManyRequestsException CallerRateLimitExceeded")
    await database.db.delete(functionEvents)
  })

  it("is tried three times with one request id when its function fails, and then given up", async () => {
    const ids: string[] = []
    await using under = await open(({ requestId }) => {
      ids.push(requestId)
      return Promise.resolve(thrown("no"))
    })
    const name = await make()
    const requestId = await under.accept(name, '"what is in it"')
    await untilEmpty(name)
    expect(ids).toEqual([requestId, requestId, requestId])
    const [told] = under.lines.filter((line) => line["requestId"] === requestId)
    expect(told).toMatchObject({ condition: "RetriesExhausted", attempts: 3 })
    expect(JSON.stringify(under.lines)).not.toContain("what is in it")
  })

  it("is tried as often as the configuration of the qualifier says that was called", async () => {
    let tries = 0
    await using under = await open(() => {
      tries++
      return Promise.resolve(thrown("no"))
    })
    const name = await make({ config: { maximumRetries: 0 } })
    await under.accept(name)
    await untilEmpty(name)
    expect(tries).toBe(1)
    await under.accept(name, "{}", "live")
    await untilEmpty(name)
    expect(tries).toBe(4)
  })

  it("waits where it is throttled or nobody is ready, as long as it may", async () => {
    let tries = 0
    const refusals = [throttled(), new ServiceError("ResourceConflictException", 409, "Pending"), new Error("weather")]
    await using under = await open((request, signal) => {
      const refusal = refusals[tries++]
      return refusal === undefined ? done(request, signal) : Promise.reject(refusal)
    })
    const name = await make()
    await under.accept(name)
    await untilEmpty(name)
    expect(tries).toBe(4)
    expect(await under.metrics.metrics()).toContain('torpor_events_held_total{kind="invocation"} 3')
  })

  it("is given up when it is too old, whether it was ever taken or not", async () => {
    let tries = 0
    await using under = await open(() => {
      tries++
      return Promise.reject(throttled())
    })
    const name = await make({ config: { maximumAgeSeconds: 1 } })
    const requestId = await under.accept(name)
    await untilEmpty(name)
    expect(tries).toBeGreaterThan(1)
    const told = under.lines.find((line) => line["requestId"] === requestId)
    expect(told).toMatchObject({ condition: "EventAgeExceeded", attempts: 0 })
  })

  it("is dropped with its function, and with what cannot be called any more", async () => {
    await using under = await open(({ target }) =>
      Promise.reject(
        target.qualifier === undefined ? throttled() : new ServiceError("ResourceNotFoundException", 404, "gone"),
      ),
    )
    const name = await make()
    await under.accept(name, "{}", "gone")
    await untilEmpty(name)
    await Promise.all([under.accept(name), under.accept(name), under.accept(name)])
    await database.db.delete(functions).where(eq(functions.name, name))
    await untilEmpty(name)
    expect(under.lines.filter(({ msg }) => String(msg).startsWith("Events are dropped"))).toMatchObject([{ events: 3 }])
    expect(await under.metrics.metrics()).toContain("torpor_events_waiting 0")
  })

  it("goes to a function as fast as its concurrency lets it, and all of them arrive", async () => {
    let [running, most, delivered] = [0, 0, 0]
    await using under = await open(async () => {
      if (running === 3) throw throttled()
      most = Math.max(most, ++running)
      await new Promise((resolve) => setTimeout(resolve, 5))
      running--
      delivered++
      return Buffer.from("null")
    })
    const name = await make()
    await Promise.all(Array.from({ length: 60 }, () => under.accept(name)))
    await untilEmpty(name)
    expect({ most, delivered }).toEqual({ most: 3, delivered: 60 })
  })

  it("does not wait for another function's flood", async () => {
    const held = Promise.withResolvers<Buffer>()
    const flooded = await make()
    const answered: string[] = []
    await using under = await open(({ target }) => {
      if (target.name === flooded) return held.promise
      answered.push(target.name)
      return Promise.resolve(Buffer.from("null"))
    })
    await Promise.all(Array.from({ length: 100 }, () => under.accept(flooded)))
    const others = await Promise.all(Array.from({ length: 5 }, () => make()))
    await Promise.all(others.map((name) => under.accept(name)))
    for (const name of others) await untilEmpty(name)
    expect(answered.toSorted()).toEqual(others.toSorted())
    expect(await waiting(flooded)).toBe(100)
    held.resolve(Buffer.from("null"))
    await untilEmpty(flooded)
  })

  it("that is in flight is waited for when the queue closes, and stays in it when that lasts too long", async () => {
    const [begun, never] = [Promise.withResolvers<void>(), new Promise<Buffer>(() => {})]
    const [quick, slow] = [await make(), await make()]
    const under = await open(({ target }) => {
      if (target.name === slow) return never
      begun.resolve()
      return new Promise((resolve) => setTimeout(resolve, 30, Buffer.from("null")))
    })
    await Promise.all([under.accept(quick), under.accept(slow)])
    await begun.promise
    await under.events.close(200)
    expect([await waiting(quick), await waiting(slow)]).toEqual([0, 1])
    await using again = await open(done)
    expect(again.lines).toEqual([])
    await untilEmpty(slow)
  })
})
