import fc from "fast-check"
import { describe, expect, test, vi } from "vitest"
import { createActor, waitFor, type Actor } from "xstate"
import {
  createEnvironmentMachine,
  isReady,
  toEnvironmentState,
  type EnvironmentInput,
  type EnvironmentMachine,
  type EnvironmentMachineEvent,
} from "../../machines/environment.ts"
import { createSimulatedEnvironment } from "./simulated-environment.ts"

const HOURS = 3_600_000
const input = (over: Partial<EnvironmentInput> = {}): EnvironmentInput => ({
  id: "a",
  vmId: "a",
  state: "PENDING",
  isNew: true,
  cause: "request",
  stateReason: null,
  deadlineAt: Date.now() + 8 * HOURS,
  idleMs: 60_000,
  ...over,
})

const begin = (over: Partial<EnvironmentInput> = {}, host = createSimulatedEnvironment()) => {
  const actor = createActor(
    createEnvironmentMachine(host.verbs, () => host.desk),
    { input: input(over) },
  )
  actor.start()
  return { actor, host }
}
const reaches = (actor: Actor<EnvironmentMachine>, state: string) =>
  waitFor(actor, (snapshot) => toEnvironmentState(snapshot) === state, { timeout: 60_000 })
const freezes = (actor: Actor<EnvironmentMachine>) =>
  waitFor(actor, (snapshot) => snapshot.matches({ alive: { running: "frozen" } }), { timeout: 60_000 })
const give = (actor: Actor<EnvironmentMachine>, host: ReturnType<typeof createSimulatedEnvironment>) => {
  const answer = host.give()
  actor.send({ type: "GIVEN" })
  return answer
}

describe("An environment", () => {
  test("is initialised, serves one event after the other, frozen between them, and ends with its Shutdown phase", async () => {
    const { actor, host } = begin()
    expect(toEnvironmentState(actor.getSnapshot())).toBe("PENDING")
    await freezes(actor)
    for (const _ of [1, 2]) {
      await give(actor, host).settled
      await freezes(actor)
      expect(host.process).toBe("frozen")
    }
    actor.send({ type: "TERMINATE", cause: "memory", reason: "Others need the room." })
    expect(isReady(actor.getSnapshot())).toBe(false)
    const { context } = await reaches(actor, "TERMINATED")
    expect(context).toMatchObject({ cause: "memory", stateReason: "Others need the room." })
    expect(host.done).toEqual(["launch", "init", "event", "event", "shutDown", "end"])
  })

  test("that is given its next event while it comes to rest serves it all the same", async () => {
    const { actor, host } = begin()
    await freezes(actor)
    await give(actor, host).settled
    // Nothing was awaited since: it isn't frozen yet.
    await give(actor, host).settled
    await freezes(actor)
    expect(host.done.filter((verb) => verb === "event")).toHaveLength(2)
    actor.stop()
  })

  test("sleeps deeply when memory is short, and wakes for its next event; what it has no room for is refused", async () => {
    const { actor, host } = begin()
    await freezes(actor)
    actor.send({ type: "DEFLATE" })
    expect((await reaches(actor, "SUSPENDED")).context.cause).toBe("memory")
    host.wakes = false
    const refused = give(actor, host)
    await expect(refused.head).rejects.toThrow("no room")
    await waitFor(actor, (snapshot) => snapshot.matches({ alive: "suspended" }))
    host.wakes = true
    await give(actor, host).settled
    await freezes(actor)
    host.sleeps = false
    actor.send({ type: "DEFLATE" })
    await freezes(actor)
    expect(host.done).toEqual(["launch", "init", "sleep", "wake", "event"])
    actor.stop()
  })

  test("that nobody gives an event is retired, awake or asleep", async () => {
    for (const sleeps of [false, true]) {
      const { actor, host } = begin({ idleMs: 30 })
      await freezes(actor)
      if (sleeps) actor.send({ type: "DEFLATE" })
      const { context } = await reaches(actor, "TERMINATED")
      expect(context.cause).toBe("idle")
      expect(host.done).toContain("end")
    }
  })

  test("that has grown old is given no other event, finishes the one that it is at, and is over", async () => {
    vi.useFakeTimers({ toFake: ["Date", "setTimeout", "clearTimeout"] })
    try {
      const { actor, host } = begin({ deadlineAt: Date.now() + 900_000 + 30 })
      await freezes(actor)
      const answer = give(actor, host)
      // A turn of the clock more for the alarm itself.
      vi.advanceTimersByTime(31)
      expect(isReady(actor.getSnapshot())).toBe(false)
      expect(await answer.end).toBeUndefined()
      expect((await reaches(actor, "TERMINATED")).context.cause).toBe("deadline")
    } finally {
      vi.useRealTimers()
    }
  })

  test("whose event breaks it, or whose VM ends, is over with that as the reason", async () => {
    const broken = begin()
    await freezes(broken.actor)
    broken.host.breaks = { cause: "exit", reason: "It did not answer." }
    const answer = give(broken.actor, broken.host)
    expect((await reaches(broken.actor, "TERMINATED")).context).toMatchObject({
      cause: "exit",
      stateReason: "It did not answer.",
    })
    expect((await answer.end)?.errorType).toBe("Runtime.ExitError")

    const { actor, host } = begin()
    await freezes(actor)
    host.exit({ cause: "host", reason: "The process ended." })
    expect((await reaches(actor, "TERMINATED")).context.stateReason).toBe("The process ended.")
  })

  test("of an earlier daemon goes on when it was frozen or asleep, and is over when it was at an event, or just beginning", async () => {
    for (const [state, process, ends] of [
      ["RUNNING", "frozen", false],
      ["SUSPENDED", "asleep", false],
      ["SUSPENDING", "frozen", false],
      ["RUNNING", "running", true],
      ["RUNNING", "none", true],
      ["PENDING", "running", true],
      ["TERMINATING", "running", true],
    ] as const) {
      const host = createSimulatedEnvironment()
      host.process = process
      const { actor } = begin({ state, isNew: false }, host)
      expect(toEnvironmentState(actor.getSnapshot())).toBe(state === "PENDING" ? "TERMINATING" : state)
      if (ends) {
        const { context } = await reaches(actor, "TERMINATED")
        if (state !== "TERMINATING") expect(context.cause).toBe("host")
      } else {
        await waitFor(actor, isReady)
        expect(await give(actor, host).end).toBeUndefined()
      }
      actor.stop()
    }
  })
})

describe("Whatever happens to an environment, with a crash and a restore between any two events,", () => {
  type Next = EnvironmentMachineEvent | "give" | "wait" | "crash" | "break" | "exit" | "no sleep" | "no wake"
  const event = fc.constantFrom<Next>(
    "give",
    "give",
    "wait",
    "wait",
    "crash",
    "break",
    "exit",
    "no sleep",
    "no wake",
    { type: "DEFLATE" },
    { type: "DEFLATE" },
    { type: "IDLE" },
    { type: "RETIRE" },
    { type: "DEADLINE" },
    { type: "TERMINATE", cause: "api", reason: "Asked." },
  )

  test("each event is answered or refused, none meets another or a VM that sleeps, and it ends only once with nothing left", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(event, { maxLength: 30 }), async (events) => {
        const host = createSimulatedEnvironment()
        const machine = createEnvironmentMachine(host.verbs, () => host.desk)
        let actor = createActor(machine, { input: input() })
        actor.start()
        let waiting: Promise<unknown>[] = []
        let isAt = false
        for (const next of events) {
          const snapshot = actor.getSnapshot()
          if (next === "give") {
            if (isAt || !isReady(snapshot)) continue
            isAt = true
            const answer = give(actor, host)
            answer.head.catch(() => {})
            waiting.push(answer.end, answer.settled)
            void answer.settled.then(() => (isAt = false))
          } else if (next === "wait") await new Promise((resolve) => setImmediate(resolve))
          else if (next === "break") host.breaks = { cause: "exit", reason: "It broke." }
          else if (next === "exit") host.exit({ cause: "host", reason: "The process ended." })
          else if (next === "no sleep") host.sleeps = !host.sleeps
          else if (next === "no wake") host.wakes = !host.wakes
          else if (next === "crash") {
            if (snapshot.status !== "active") continue
            const stored = toEnvironmentState(snapshot)
            actor.stop()
            host.crash()
            // What was being done when the daemon died has been done, or not.
            await new Promise((resolve) => setImmediate(resolve))
            await new Promise((resolve) => setImmediate(resolve))
            waiting = []
            isAt = false
            actor = createActor(machine, { input: input({ state: stored, isNew: false }) })
            actor.start()
          } else if (snapshot.status === "active") actor.send(next)
          expect(host.violations).toEqual([])
        }
        if (actor.getSnapshot().status === "active") actor.send({ type: "TERMINATE", cause: "api", reason: "Asked." })
        await reaches(actor, "TERMINATED")
        await Promise.all(waiting)
        expect(host.violations).toEqual([])
        expect(host.process).toBe("none")
      }),
      { numRuns: 150 },
    )
  })
})
