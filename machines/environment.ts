/**
 * The life of one execution environment. Its actor, owned by the registry, is the only writer of its row in `environments`.
 *
 *            ┌─ pending (launching ─► initialising) ─┐
 *  entering ─┤                                       ▼
 *   (by row) ├─ adopting ──────────► running (frozen ⇄ serving) ◄── resuming ◄─┐
 *            │      │                    │ DEFLATE      ▲                      │ GIVEN
 *            │      │                    ▼              │ not slept            │
 *            │      └──────────────► suspending ────────┴──── slept ───► suspended
 *            │
 *            └─ TERMINATE, IDLE, DEADLINE, the VM's end, any failure
 *                     ▼
 *               terminating (shuttingDown ─► ending) ──► terminated
 *
 * `frozen` is the light sleep between two events: the VM is stopped and its process kept. `suspended` is the deep one, on disk. Which of
 * `frozen` and `serving` an environment is in can be seen at its VM, and so isn't stored: an event costs no write. An event itself is
 * no part of the machine: whoever gives it puts it on the environment's desk, and says GIVEN.
 *
 * After a restart a frozen one is taken over and goes on. One that was at an event is ended: whoever waited for it is gone. So is one
 * that was still beginning.
 */
import { assign, fromPromise, setup, type SnapshotFrom } from "xstate"
import type { Cause, EnvironmentState } from "../src/db/values.ts"
import { messageOf } from "../src/errors.ts"
import { createIdleAlarm } from "./activity.ts"
import { alarm } from "./alarm.ts"
import type { Desk } from "./environments/desk.ts"
import type { Ending } from "./vm.ts"

export interface EnvironmentInput {
  readonly id: string
  readonly vmId: string
  /** What the row says; PENDING with `isNew` for a new one. */
  readonly state: EnvironmentState
  readonly isNew: boolean
  readonly cause: Cause
  readonly stateReason: string | null
  /** When it is over, whatever it does. */
  readonly deadlineAt: number
  /** How long it waits for an event before it is retired; `null`: until its deadline. */
  readonly idleMs: number | null
}

interface EnvironmentContext extends EnvironmentInput {
  /** It is too old for another event. */
  readonly isRetiring: boolean
}

export type EnvironmentMachineEvent =
  | { type: "GIVEN" }
  | { type: "DEFLATE" }
  | { type: "TERMINATE"; cause: Cause; reason: string }
  | { type: "IDLE" }
  | { type: "RETIRE" }
  | { type: "DEADLINE" }

/** What the statechart does to a VM and its function; every verb leaves nothing behind when it rejects. */
export interface EnvironmentVerbs {
  /** A fresh launch, from a runtime's base or its version's snapshot: its guest runs, and has the function's drives. */
  launch(vmId: string, signal: AbortSignal): Promise<void>
  /** The Init phase, or the Restore phase in its place; resolves also when the function failed at it. */
  initialise(vmId: string, signal: AbortSignal): Promise<void>
  /** Takes over what an earlier daemon has left. Rejects with what happened when there is nothing that could go on. */
  adopt(vmId: string, signal: AbortSignal): Promise<"frozen" | "asleep">
  /** What lies on the desk, and what is put there meanwhile; then the VM is frozen. Resolves with the ending when there was one. */
  serve(vmId: string, signal: AbortSignal): Promise<Ending | null>
  /** Snapshot to disk and no process. Resolves `false` when that failed and the VM is frozen as before. */
  sleep(vmId: string, signal: AbortSignal): Promise<boolean>
  /** From disk to running. Resolves `false` when that failed and it still sleeps: what lay on the desk was refused then. */
  wake(vmId: string, signal: AbortSignal): Promise<boolean>
  /** Resolves with how the VM ended by itself. */
  watch(vmId: string, signal: AbortSignal): Promise<Ending>
  /** The Shutdown phase, in the time that AWS gives it. */
  shutDown(vmId: string): Promise<void>
  /** Process, slot, and all files are gone when it resolves. */
  end(vmId: string): Promise<void>
}

/** An event may take so long: no older environment is given one. */
const LONGEST_EVENT_MS = 900_000

const endings = {
  IDLE: { cause: "idle", stateReason: "The environment was given no event for its idle time." },
  RETIRE: { cause: "deadline", stateReason: "The environment has reached the age at which it is replaced." },
  DEADLINE: { cause: "deadline", stateReason: "The environment exceeded its maximum lifetime." },
} as const satisfies Record<string, { cause: Cause; stateReason: string }>

/** The statechart over a host's verbs and the desks of its environments. */
export const createEnvironmentMachine = (verbs: EnvironmentVerbs, deskOf: (vmId: string) => Desk) => {
  const ofVm = ({ context: { vmId } }: { context: EnvironmentContext }) => ({ vmId })
  const idle = ({ context: { vmId, idleMs } }: { context: EnvironmentContext }) => ({ id: vmId, idleMs })
  const failed = (doing: string) => ({
    target: "#environment.terminating" as const,
    actions: {
      type: "noteFailure" as const,
      params: ({ event }: { event: { error: unknown } }) => ({ doing, error: event.error }),
    },
  })

  return setup({
    types: {
      input: {} as EnvironmentInput,
      context: {} as EnvironmentContext,
      events: {} as EnvironmentMachineEvent,
      tags: {} as "ready" | "over",
    },
    actors: {
      alarm,
      idleAlarm: createIdleAlarm((vmId) => deskOf(vmId).activity),
      launch: fromPromise<void, { vmId: string }>(({ input, signal }) => verbs.launch(input.vmId, signal)),
      initialise: fromPromise<void, { vmId: string }>(({ input, signal }) => verbs.initialise(input.vmId, signal)),
      adopt: fromPromise<"frozen" | "asleep", { vmId: string }>(({ input, signal }) => verbs.adopt(input.vmId, signal)),
      serve: fromPromise<Ending | null, { vmId: string }>(({ input, signal }) => verbs.serve(input.vmId, signal)),
      sleep: fromPromise<boolean, { vmId: string }>(({ input, signal }) => verbs.sleep(input.vmId, signal)),
      wake: fromPromise<boolean, { vmId: string }>(({ input, signal }) => verbs.wake(input.vmId, signal)),
      watch: fromPromise<Ending, { vmId: string }>(({ input, signal }) => verbs.watch(input.vmId, signal)),
      shutDown: fromPromise<void, { vmId: string }>(({ input }) => verbs.shutDown(input.vmId)),
      end: fromPromise<void, { vmId: string }>(({ input }) => verbs.end(input.vmId)),
    },
    guards: {
      isGiven: ({ context }) => deskOf(context.vmId).given !== undefined,
      isRetiring: ({ context }) => context.isRetiring,
    },
    actions: {
      noteEnding: assign({
        cause: ({ context, event }) =>
          event.type in endings
            ? endings[event.type as keyof typeof endings].cause
            : "cause" in event
              ? event.cause
              : context.cause,
        stateReason: ({ context, event }) =>
          event.type in endings
            ? endings[event.type as keyof typeof endings].stateReason
            : "reason" in event
              ? event.reason
              : context.stateReason,
      }),
      noteOutcome: assign((_, { cause, reason }: Ending) => ({ cause, stateReason: reason })),
      noteFailure: assign((_, { doing, error }: { doing: string; error: unknown }) => ({
        cause: "host" as const,
        stateReason: `The environment could not be ${doing}: ${messageOf(error)}`,
      })),
      noteRetirement: assign(endings.RETIRE),
      noteRestart: assign({ cause: "host", stateReason: "The daemon ended while the environment was starting." }),
    },
  }).createMachine({
    id: "environment",
    context: ({ input }) => ({ ...input, isRetiring: false }),
    initial: "entering",
    states: {
      entering: {
        always: [
          { guard: ({ context }) => context.isNew, target: "alive.pending" },
          { guard: ({ context }) => context.state === "PENDING", target: "terminating.ending", actions: "noteRestart" },
          { guard: ({ context }) => context.state === "SUSPENDING", target: "alive.suspending" },
          { guard: ({ context }) => context.state === "TERMINATING", target: "terminating.ending" },
          { guard: ({ context }) => context.state === "TERMINATED", target: "terminated" },
          { target: "alive.adopting" },
        ],
      },
      alive: {
        invoke: [
          {
            src: "alarm",
            input: ({ context }) => ({ at: context.deadlineAt, event: { type: "DEADLINE" } }),
          },
          {
            src: "alarm",
            input: ({ context }) => ({ at: context.deadlineAt - LONGEST_EVENT_MS, event: { type: "RETIRE" } }),
          },
        ],
        on: {
          TERMINATE: { target: "terminating", actions: "noteEnding" },
          DEADLINE: { target: "terminating", actions: "noteEnding" },
          RETIRE: { actions: assign({ isRetiring: true }) },
        },
        initial: "pending",
        states: {
          pending: {
            initial: "launching",
            states: {
              launching: {
                invoke: { src: "launch", input: ofVm, onDone: "initialising", onError: failed("launched") },
              },
              initialising: {
                invoke: {
                  src: "initialise",
                  input: ofVm,
                  onDone: "#environment.alive.running.serving",
                  onError: failed("initialised"),
                },
              },
            },
          },
          adopting: {
            invoke: {
              src: "adopt",
              input: ofVm,
              onDone: [{ guard: ({ event }) => event.output === "asleep", target: "suspended" }, { target: "running" }],
              onError: failed("taken over"),
            },
          },
          running: {
            tags: "ready",
            entry: assign({ cause: "request", stateReason: null }),
            invoke: [
              {
                src: "watch",
                input: ofVm,
                onDone: {
                  target: "#environment.terminating",
                  actions: { type: "noteOutcome", params: ({ event }) => event.output },
                },
                onError: failed("kept running"),
              },
              { src: "idleAlarm", input: idle },
            ],
            on: { IDLE: { target: "#environment.terminating", actions: "noteEnding" } },
            initial: "frozen",
            states: {
              frozen: {
                always: [
                  { guard: "isRetiring", target: "#environment.terminating", actions: "noteRetirement" },
                  // It was given while the VM came to rest.
                  { guard: "isGiven", target: "serving" },
                ],
                on: {
                  GIVEN: "serving",
                  DEFLATE: { target: "#environment.alive.suspending", actions: assign({ cause: "memory" }) },
                },
              },
              serving: {
                invoke: {
                  src: "serve",
                  input: ofVm,
                  onDone: [
                    { guard: ({ event }) => event.output === null, target: "frozen" },
                    {
                      target: "#environment.terminating",
                      actions: {
                        type: "noteOutcome",
                        params: ({ event }) => event.output as Ending,
                      },
                    },
                  ],
                  onError: failed("kept running"),
                },
              },
            },
          },
          suspending: {
            tags: "ready",
            invoke: {
              src: "sleep",
              input: ofVm,
              onDone: [
                { guard: ({ event }) => !event.output, target: "running" },
                { guard: "isGiven", target: "resuming" },
                { target: "suspended" },
              ],
              onError: failed("suspended"),
            },
          },
          suspended: {
            tags: "ready",
            invoke: { src: "idleAlarm", input: idle },
            always: { guard: "isRetiring", target: "#environment.terminating", actions: "noteRetirement" },
            on: {
              GIVEN: "resuming",
              IDLE: { target: "#environment.terminating", actions: "noteEnding" },
            },
          },
          resuming: {
            tags: "ready",
            invoke: {
              src: "wake",
              input: ofVm,
              onDone: [{ guard: ({ event }) => !event.output, target: "suspended" }, { target: "running.serving" }],
              onError: failed("resumed"),
            },
          },
        },
      },
      terminating: {
        initial: "shuttingDown",
        states: {
          shuttingDown: { invoke: { src: "shutDown", input: ofVm, onDone: "ending", onError: "ending" } },
          // What could not be removed now is removed by the sweep at the next start; the environment is over all the same.
          ending: {
            invoke: {
              src: "end",
              input: ofVm,
              onDone: "#environment.terminated",
              onError: "#environment.terminated",
            },
          },
        },
      },
      terminated: { type: "final", tags: "over" },
    },
  })
}

export type EnvironmentMachine = ReturnType<typeof createEnvironmentMachine>

/** The state as a MicroVM's is named. */
export const toEnvironmentState = (snapshot: SnapshotFrom<EnvironmentMachine>): EnvironmentState => {
  if (snapshot.matches("terminated")) return "TERMINATED"
  if (snapshot.matches("terminating")) return "TERMINATING"
  if (snapshot.matches({ alive: "running" })) return "RUNNING"
  if (snapshot.matches({ alive: "suspending" })) return "SUSPENDING"
  if (snapshot.matches({ alive: "suspended" }) || snapshot.matches({ alive: "resuming" })) return "SUSPENDED"
  // What is being taken over is still what its row says.
  return snapshot.context.state
}

/** It takes events. */
export const isReady = (snapshot: SnapshotFrom<EnvironmentMachine>): boolean =>
  snapshot.hasTag("ready") && !snapshot.context.isRetiring
