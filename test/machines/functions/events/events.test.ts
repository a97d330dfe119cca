import { eq, sql } from "drizzle-orm"
import { pino } from "pino"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { createVacuum } from "../../../../machines/functions/events/queue/vacuum.ts"
import type { InvokeRequest } from "../../../../machines/functions/invoking/invoker.ts"
import { functionEvents, functions } from "../../../../src/db/functions.ts"
import { ServiceError } from "../../../../src/errors.ts"
import { eventually } from "../../../fixtures/eventually.ts"
import { openHost, type HostUnderTest } from "./events-under-test.ts"
import { scope } from "./function-rows.ts"
import { thrown, type Script } from "./scripted-invoker.ts"

let host: HostUnderTest
beforeAll(async () => void (host = await openHost()))
afterAll(() => host?.[Symbol.asyncDispose]())

const MiB = 1024 ** 2
const done: Script = () => Promise.resolve(Buffer.from("null"))
const throttled = () => new ServiceError("TooManyRequestsException", 429, "Rate Exceeded.")

describe("An asynchronous event", () => {
  it("is stored when it is accepted, and given to the function as it came", async () => {
    const given = Promise.withResolvers<InvokeRequest>()
    await using under = await host.open((request) => {
      given.resolve(request)
      return done(request, AbortSignal.abort())
    })
    const name = await host.make()
    const requestId = await under.accept(name, '{"n":1.00}')
    const { target, payload, ...request } = await given.promise
    expect(request).toMatchObject({ requestId, scope, mode: "buffered" })
    expect(target).toEqual({ name, qualifier: undefined })
    expect(payload.toString()).toBe('{"n":1.00}')
    await host.untilEmpty(name)
  })

  it("is refused without its function, above a megabyte, and where as much waits as may", async () => {
    const limits = { eventsPerFunction: 2, bytesPerFunction: 2 * MiB, events: 3, bytes: 3 * MiB }
    await using under = await host.open(() => Promise.reject(throttled()), { limits })
    const [name, other] = [await host.make(), await host.make()]
    const refusal = (call: Promise<unknown>) =>
      call.then(
        () => "accepted",
        ({ status, code, members: { Reason } }: ServiceError) =>
          `${status} ${code}${typeof Reason === "string" ? ` ${Reason}` : ""}`,
      )
    expect(await refusal(under.accept("nobody"))).toBe("404 ResourceNotFoundException")
    for (const qualifier of ["7", "nobody"])
      expect(await refusal(under.accept(name, "{}", qualifier))).toBe("404 ResourceNotFoundException")
    expect(await refusal(under.accept(name, " ".repeat(MiB + 1)))).toBe("413 RequestEntityTooLargeException")
    await under.accept(name)
    await under.accept(name, " ".repeat(MiB))
    const tooMany = "429 TooManyRequestsException FunctionInvocationRateLimitExceeded"
    expect(await refusal(under.accept(name))).toBe(tooMany)
    await under.accept(other)
    expect(await refusal(under.accept(other))).toBe("429 TooManyRequestsException CallerRateLimitExceeded")
    await host.db.delete(functionEvents)
  })

  it("is tried three times with one request id when its function fails, and then given up", async () => {
    const ids: string[] = []
    await using under = await host.open(({ requestId }) => {
      ids.push(requestId)
      return Promise.resolve(thrown("no"))
    })
    const name = await host.make()
    const requestId = await under.accept(name, '"what is in it"')
    await host.untilEmpty(name)
    expect(ids).toEqual([requestId, requestId, requestId])
    const [told] = under.lines.filter((line) => line["requestId"] === requestId)
    expect(told).toMatchObject({ condition: "RetriesExhausted", attempts: 3 })
    expect(JSON.stringify(under.lines)).not.toContain("what is in it")
  })

  it("is tried as often as the configuration of the qualifier says that was called", async () => {
    let tries = 0
    await using under = await host.open(() => {
      tries++
      return Promise.resolve(thrown("no"))
    })
    const name = await host.make({ config: { maximumRetries: 0 } })
    await under.accept(name)
    await host.untilEmpty(name)
    expect(tries).toBe(1)
    await under.accept(name, "{}", "live")
    await host.untilEmpty(name)
    expect(tries).toBe(4)
  })

  it("is tried again after one minute and then two, for six hours, where nobody has said otherwise", async () => {
    await using under = await host.open(() => Promise.resolve(thrown("no")), {}, false)
    const name = await host.make()
    const functionId = await host.idOf(name)
    const ofFunction = eq(functionEvents.functionId, functionId)
    const row = async () => (await host.db.select().from(functionEvents).where(ofFunction))[0]
    /** Resolves when its function has failed with it so often: it is due so long after that. */
    const untilFailed = async (attempts: number, since: number, afterMs: number) => {
      await eventually(async () => expect((await row())?.attempts).toBe(attempts))
      const dueAt = (await row())?.dueAt.getTime() ?? 0
      expect(dueAt).toBeGreaterThanOrEqual(since + afterMs)
      expect(dueAt).toBeLessThanOrEqual(Date.now() + afterMs)
    }
    /** As if it had been accepted so long ago, and its time had come. */
    const age = async (ms: number) => {
      const now = Date.now()
      const times = { acceptedAt: new Date(now - ms), dueAt: new Date(now) }
      await host.db.update(functionEvents).set(times).where(ofFunction)
      host.changes.tell(functionId)
      return now
    }
    const acceptedAt = Date.now()
    const requestId = await under.accept(name)
    await untilFailed(1, acceptedAt, 60_000)
    await untilFailed(2, await age(5.9 * 3_600_000), 120_000)
    await age(6 * 3_600_000)
    await host.untilEmpty(name)
    const told = under.lines.find((line) => line["requestId"] === requestId)
    expect(told).toMatchObject({ condition: "EventAgeExceeded", attempts: 2 })
  })

  it("waits where it is throttled or nobody is ready, as long as it may", async () => {
    let tries = 0
    const refusals = [throttled(), new ServiceError("ResourceConflictException", 409, "Pending"), new Error("weather")]
    await using under = await host.open((request, signal) => {
      const refusal = refusals[tries++]
      return refusal === undefined ? done(request, signal) : Promise.reject(refusal)
    })
    const name = await host.make()
    await under.accept(name)
    await host.untilEmpty(name)
    expect(tries).toBe(4)
    expect(await under.metrics.metrics()).toContain('torpor_events_held_total{kind="invocation"} 3')
  })

  it("is given up when it is too old, whether it was ever taken or not", async () => {
    let tries = 0
    await using under = await host.open(() => {
      tries++
      return Promise.reject(throttled())
    })
    const name = await host.make({ config: { maximumAgeSeconds: 1 } })
    const requestId = await under.accept(name)
    await host.untilEmpty(name)
    expect(tries).toBeGreaterThan(1)
    const told = under.lines.find((line) => line["requestId"] === requestId)
    expect(told).toMatchObject({ condition: "EventAgeExceeded", attempts: 0 })
  })

  it("is dropped with its function, and with what cannot be called any more", async () => {
    await using under = await host.open(({ target }) =>
      Promise.reject(
        target.qualifier === undefined ? throttled() : new ServiceError("ResourceNotFoundException", 404, "gone"),
      ),
    )
    const name = await host.make()
    await under.accept(name, "{}", "live")
    await host.untilEmpty(name)
    await Promise.all([under.accept(name), under.accept(name), under.accept(name)])
    await host.db.delete(functions).where(eq(functions.name, name))
    await host.untilEmpty(name)
    // Told once they are gone, and one that was being tried by itself.
    const told = () => under.lines.filter(({ msg }) => String(msg).startsWith("Events are dropped"))
    await expect.poll(() => told().reduce((sum, { events }) => sum + Number(events), 0)).toBe(3)
    await eventually(async () => expect(await under.metrics.metrics()).toContain("torpor_events_waiting 0"))
  })

  it("is dropped at once while it waits to be tried again, and tried at once when what it waits for has changed", async () => {
    let isThrottled = true
    await using under = await host.open(
      ({ payload }) => {
        if (payload.toString() === "0") return Promise.resolve(thrown("no"))
        return isThrottled ? Promise.reject(throttled()) : Promise.resolve(Buffer.from("null"))
      },
      { pace: { retryMs: [3_600_000], firstHoldMs: 3_600_000, longestHoldMs: 3_600_000 } },
    )
    const tried = (name: string, count: number) =>
      eventually(async () => expect(await under.metrics.metrics()).toContain(`${name} ${count}`))
    const [failing, waiting] = [await host.make(), await host.make()]
    await under.accept(failing, "0")
    await tried("torpor_events_retried_total", 1)
    await under.accept(waiting)
    await tried('torpor_events_held_total{kind="invocation"}', 1)
    isThrottled = false
    host.changes.tell(await host.idOf(waiting))
    await host.untilEmpty(waiting)
    const id = await host.idOf(failing)
    await host.db.delete(functions).where(eq(functions.name, failing))
    host.changes.tell(id)
    await host.untilEmpty(failing)
  })

  it("goes to a function as fast as its concurrency lets it, and all of them arrive", async () => {
    let [running, most, delivered] = [0, 0, 0]
    await using under = await host.open(async () => {
      if (running === 3) throw throttled()
      most = Math.max(most, ++running)
      await new Promise((resolve) => setTimeout(resolve, 5))
      running--
      delivered++
      return Buffer.from("null")
    })
    const name = await host.make()
    await Promise.all(Array.from({ length: 60 }, () => under.accept(name)))
    await host.untilEmpty(name)
    expect({ most, delivered }).toEqual({ most: 3, delivered: 60 })
  })

  it("does not wait for another function's flood", async () => {
    const held = Promise.withResolvers<Buffer>()
    const flooded = await host.make()
    const answered: string[] = []
    await using under = await host.open(({ target }) => {
      if (target.name === flooded) return held.promise
      answered.push(target.name)
      return Promise.resolve(Buffer.from("null"))
    })
    await Promise.all(Array.from({ length: 100 }, () => under.accept(flooded)))
    const others = await Promise.all(Array.from({ length: 5 }, () => host.make()))
    await Promise.all(others.map((name) => under.accept(name)))
    for (const name of others) await host.untilEmpty(name)
    expect(answered.toSorted()).toEqual(others.toSorted())
    expect(await host.waiting(flooded)).toBe(100)
    held.resolve(Buffer.from("null"))
    await host.untilEmpty(flooded)
  })

  it("leaves no space behind that a flood would not find again", async () => {
    const left = createVacuum(host.db, pino({ level: "silent" }))
    const vacuums = async () => {
      const [row] = await host.db.execute(
        sql`select vacuum_count::int as count from pg_stat_user_tables where relname = 'function_events'`,
      )
      return row?.["count"]
    }
    left({ events: 1, bytes: 255 * MiB })
    left({ events: 1, bytes: MiB })
    await eventually(async () => expect(await vacuums()).toBe(1))
  })

  it("that is in flight is waited for when the queue closes, and stays in it when that lasts too long", async () => {
    const name = await host.make()
    /** A queue whose function is at the event. */
    const openAt = async (answer: Promise<Buffer>) => {
      const begun = Promise.withResolvers<void>()
      const under = await host.open(() => {
        begun.resolve()
        return answer
      })
      await under.accept(name)
      await begun.promise
      return under
    }
    const quick = Promise.withResolvers<Buffer>()
    const closing = (await openAt(quick.promise)).events.close(60_000)
    quick.resolve(Buffer.from("null"))
    await closing
    expect(await host.waiting(name)).toBe(0)
    await (await openAt(new Promise(() => {}))).events.close(10)
    expect(await host.waiting(name)).toBe(1)
    await using again = await host.open(done)
    expect(again.lines).toEqual([])
    await host.untilEmpty(name)
  })
})
