import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { createActor, waitFor, type Actor } from "xstate"
import {
  createMicrovmMachine,
  toMicrovmState,
  type MicrovmEvent,
  type MicrovmInput,
  type MicrovmMachine,
} from "../../machines/microvm.ts"
import { createActivity, isQuiet } from "../../machines/activity.ts"
import { createSimulatedHost } from "./simulated-host.ts"

const input = (over: Partial<MicrovmInput> = {}): MicrovmInput => ({
  id: "a",
  vmId: "a",
  state: "PENDING",
  cause: "api",
  stateReason: null,
  deadlineAt: Date.now() + 3_600_000,
  suspendedAt: null,
  idlePolicy: { maxIdleSeconds: 60, suspendedSeconds: 60, autoResume: true },
  ...over,
})

const begin = (over: Partial<MicrovmInput> = {}, host = createSimulatedHost()) => {
  const actor = createActor(
    createMicrovmMachine(host.verbs, () => host.activity),
    { input: input(over) },
  )
  actor.start()
  return { actor, host }
}

const reaches = (actor: Actor<MicrovmMachine>, state: string) =>
  waitFor(actor, (snapshot) => toMicrovmState(snapshot) === state, { timeout: 60_000 })

describe("A MicroVM", () => {
  test("is launched, sleeps and wakes when asked, and ends with AWS's word for it", async () => {
    const { actor, host } = begin()
    expect(toMicrovmState(actor.getSnapshot())).toBe("PENDING")
    await reaches(actor, "RUNNING")
    actor.send({ type: "SUSPEND", cause: "api" })
    expect(toMicrovmState(actor.getSnapshot())).toBe("SUSPENDING")
    await reaches(actor, "SUSPENDED")
    actor.send({ type: "RESUME" })
    expect(toMicrovmState(actor.getSnapshot())).toBe("SUSPENDED")
    await reaches(actor, "RUNNING")
    expect(actor.getSnapshot().context.suspendedAt).toBeNull()
    actor.send({ type: "TERMINATE", cause: "api", reason: "Success." })
    const { context } = await reaches(actor, "TERMINATED")
    expect(context).toMatchObject({ cause: "api", stateReason: "Success." })
    expect(host.done).toEqual(["launch", "sleep", "wake", "end"])
  })

  test("that nobody uses goes to sleep, and is over when it has slept too long", async () => {
    const { actor } = begin({ idlePolicy: { maxIdleSeconds: 0.02, suspendedSeconds: 0.02, autoResume: true } })
    const { context } = await reaches(actor, "TERMINATED")
    expect(context).toMatchObject({ cause: "idle", stateReason: "MicroVM exceeded maximum lifetime." })
  })

  test("with an open request is in use, however long it takes", async () => {
    const host = createSimulatedHost()
    host.activity.open = 1
    const { actor } = begin({ idlePolicy: { maxIdleSeconds: 0.01, suspendedSeconds: 60, autoResume: true } }, host)
    await reaches(actor, "RUNNING")
    await new Promise((resolve) => setTimeout(resolve, 60))
    expect(toMicrovmState(actor.getSnapshot())).toBe("RUNNING")
    host.activity.open = 0
    host.activity.lastAt = Date.now()
    await reaches(actor, "SUSPENDED")
    actor.stop()
  })

  test("whose policy allows no sleep is over as soon as it is idle", async () => {
    const { actor, host } = begin({ idlePolicy: { maxIdleSeconds: 0.01, suspendedSeconds: 0, autoResume: true } })
    await reaches(actor, "TERMINATED")
    expect(host.done).toEqual(["launch", "end"])
  })

  test("ends at its deadline in every state, and nothing extends it", async () => {
    for (const state of ["PENDING", "RUNNING", "SUSPENDED"] as const) {
      const { actor } = begin({ state, suspendedAt: Date.now(), deadlineAt: Date.now() + 5 })
      const { context } = await reaches(actor, "TERMINATED")
      expect(context).toMatchObject({ cause: "deadline", stateReason: "MicroVM exceeded maximum lifetime." })
    }
  })

  test("that is wanted while it goes to sleep wakes up as soon as it sleeps", async () => {
    const { actor, host } = begin()
    await reaches(actor, "RUNNING")
    actor.send({ type: "SUSPEND", cause: "idle" })
    actor.send({ type: "RESUME" })
    const { context } = await waitFor(actor, (snapshot) => snapshot.hasTag("awake"), { timeout: 60_000 })
    expect(host.done).toEqual(["launch", "sleep", "wake"])
    expect(context.cause).toBe("api")
    actor.stop()
  })

  test("that the API suspends while it is in use answers first what was sent to it, and sleeps then", async () => {
    const { actor, host } = begin()
    await reaches(actor, "RUNNING")
    host.activity.open = 2
    actor.send({ type: "SUSPEND", cause: "api" })
    expect(toMicrovmState(actor.getSnapshot())).toBe("SUSPENDING")
    expect([actor.getSnapshot().hasTag("awake"), actor.getSnapshot().hasTag("connected")]).toEqual([false, true])
    host.activity.open = 1
    host.activity.onLess?.()
    await new Promise((resolve) => setImmediate(resolve))
    expect(host.done).toEqual(["launch"])
    host.activity.open = 0
    host.activity.onLess?.()
    expect(actor.getSnapshot().hasTag("connected")).toBe(false)
    await reaches(actor, "SUSPENDED")
    expect(host.activity.onLess).toBeUndefined()
    actor.stop()
  })

  test("doesn't wait for ever for what was sent to it", async () => {
    const host = createSimulatedHost()
    const actor = createActor(
      createMicrovmMachine(host.verbs, () => host.activity, 5),
      { input: input() },
    )
    actor.start()
    await reaches(actor, "RUNNING")
    host.activity.open = 1
    actor.send({ type: "SUSPEND", cause: "api" })
    await reaches(actor, "SUSPENDED")
    expect(host.violations).toEqual(["sleep with an unanswered request"])
    actor.stop()
  })

  test("that a request is held for wakes as soon as it sleeps, with that as the cause; one that nobody waits for any more sleeps on", async () => {
    for (const held of [1, 0]) {
      const { actor, host } = begin()
      await reaches(actor, "RUNNING")
      actor.send({ type: "SUSPEND", cause: "api" })
      Object.assign(host.activity, { open: held, held })
      if (held === 0) await waitFor(actor, (snapshot) => snapshot.matches({ alive: "suspended" }), { timeout: 60_000 })
      else expect((await reaches(actor, "RUNNING")).context.cause).toBe("request")
      expect(host.done).toEqual(["launch", "sleep", ...(held === 0 ? [] : ["wake"])])
      actor.stop()
    }
  })

  test("whose every client gave up during its wake sleeps again at once, unless the API wants it awake too", async () => {
    for (const asked of [false, true]) {
      const { actor, host } = begin({ state: "SUSPENDED", suspendedAt: Date.now(), idlePolicy: null })
      host.process = "asleep"
      const causes: string[] = []
      actor.subscribe((snapshot) => void causes.push(`${toMicrovmState(snapshot)} ${snapshot.context.cause}`))
      actor.send({ type: "WAKE" })
      if (asked) actor.send({ type: "RESUME" })
      await reaches(actor, asked ? "RUNNING" : "SUSPENDING")
      if (!asked) await reaches(actor, "SUSPENDED")
      expect(host.done).toEqual(asked ? ["wake"] : ["wake", "sleep"])
      expect(causes.at(-1)).toBe(asked ? "RUNNING api" : "SUSPENDED idle")
      actor.stop()
    }
  })

  test("that cannot sleep runs on, and one that cannot wake sleeps on", async () => {
    const host = createSimulatedHost()
    const { actor } = begin({}, host)
    await reaches(actor, "RUNNING")
    host.sleeps = false
    actor.send({ type: "SUSPEND", cause: "api" })
    await reaches(actor, "RUNNING")
    host.sleeps = true
    actor.send({ type: "SUSPEND", cause: "api" })
    await reaches(actor, "SUSPENDED")
    host.wakes = false
    actor.send({ type: "WAKE" })
    await waitFor(actor, (snapshot) => snapshot.matches({ alive: "suspended" }), { timeout: 60_000 })
    expect(actor.getSnapshot().status).toBe("active")
    actor.stop()
  })

  test("whose application exits is over, with the reason", async () => {
    const { actor, host } = begin()
    await reaches(actor, "RUNNING")
    host.exit({ cause: "exit", reason: "The application exited with code 3." })
    const { context } = await reaches(actor, "TERMINATED")
    expect(context).toMatchObject({ cause: "exit", stateReason: "The application exited with code 3." })
  })
})

describe("Whatever happens to a MicroVM, with a crash and a restore between any two events,", () => {
  const event = fc.constantFrom<MicrovmEvent | "crash" | "wait" | "hold" | "give up" | "send" | "answer">(
    { type: "SUSPEND", cause: "api" },
    { type: "RESUME" },
    { type: "WAKE" },
    "hold",
    "give up",
    "send",
    "answer",
    { type: "TERMINATE", cause: "api", reason: "Success." },
    { type: "IDLE" },
    { type: "SUSPENSION_OVER" },
    "crash",
    "wait",
  )

  test("it is never in two states, has a process only when it may, sleeps only with nothing unanswered, and ends only once", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(event, { maxLength: 24 }), fc.boolean(), async (events, byColumns) => {
        const host = createSimulatedHost()
        const machine = createMicrovmMachine(host.verbs, () => host.activity)
        let actor = createActor(machine, { input: input() })
        actor.start()
        for (const next of events) {
          const { activity } = host
          if (next === "wait") await new Promise((resolve) => setImmediate(resolve))
          else if (next === "hold") {
            activity.open++
            activity.held++
          } else if (next === "send") {
            if (actor.getSnapshot().hasTag("awake")) activity.open++
          } else if (next === "give up" || next === "answer") {
            if (next === "give up" ? activity.held === 0 : isQuiet(activity)) continue
            if (next === "give up") activity.held--
            activity.open--
            activity.onLess?.()
          } else if (next === "crash") {
            Object.assign(activity, createActivity())
            const snapshot = actor.getSnapshot()
            const persisted = JSON.parse(JSON.stringify(actor.getPersistedSnapshot()))
            actor.stop()
            const again = { ...input(), state: toMicrovmState(snapshot), suspendedAt: snapshot.context.suspendedAt }
            actor = byColumns
              ? createActor(machine, { input: again })
              : createActor(machine, { input: again, snapshot: persisted })
            actor.start()
          } else if (actor.getSnapshot().status === "active") actor.send(next)
          expect(host.violations).toEqual([])
        }
        if (actor.getSnapshot().status === "active") actor.send({ type: "TERMINATE", cause: "api", reason: "Success." })
        await reaches(actor, "TERMINATED")
        expect(host.violations).toEqual([])
        expect(host.process).toBe("none")
      }),
      { numRuns: 200 },
    )
  })
})
