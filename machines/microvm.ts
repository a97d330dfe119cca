/**
 * The life of one MicroVM. Its actor, owned by the registry, is the only writer of its row in `microvms`.
 *
 *            ┌────────── relaunch ─────────┐
 *  entering ─┤                             ▼
 *   (by row) ├─► pending ──launched──► running ◄───woken, and wanted─── resuming ◄─┐
 *            │      │                   │  ▲                             │  ▲      │
 *            │      │        SUSPEND,IDLE  │ not slept      nobody wants it │      │ RESUME
 *            │      │                   ▼  │                             ▼  │      │ WAKE
 *            │      │      suspending (draining ──QUIET,DRAINED──► freezing)│      │
 *            │      │                   │                │   slept, wanted ─┘      │
 *            │      │                   │                └── slept ──► suspended ──┘
 *            └──────┴──── TERMINATE, DEADLINE, EXITED, SUSPENSION_OVER, any failure
 *                                       ▼
 *                                  terminating ──ended──► terminated
 *
 * Wishes (SUSPEND, RESUME, TERMINATE from the API, WAKE from the edge) and facts (EXITED, DEADLINE, QUIET) are events; what the edge's
 * requests wish beyond that is a number in memory (`Activity.held`), looked at where it decides: a client that gives up takes its wish
 * back without a word. RESUME's wish stays until it is true, or until SUSPEND takes it back.
 *
 * No request is lost to a sleep. A request is counted before it asks for the VM's address, and there is none from the very tick in which
 * `running` is left: what is sent was counted, what comes later is held. Nothing is frozen before all that was sent is answered
 * (`draining`). For an idle VM that is at once; one that the API suspends while it is in use has DRAIN_MS for that. What has no end of its
 * own, WebSockets and streams of events, is cut and not waited for: its client comes again. Those held wake the VM as soon as it sleeps:
 * the API asks for a sleep, not for its length.
 *
 * `resuming` is SUSPENDED to the outside, as it is on AWS. Why each life ended is in `cause` and `stateReason`.
 */
import { assign, fromPromise, or, setup, type SnapshotFrom } from "xstate"
import type { Cause, IdlePolicy, MicrovmState } from "../src/db/values.ts"
import { toFailure, type Failure } from "../src/errors.ts"
import { createIdleAlarm, createQuietWatch, isQuiet, type Activity } from "./activity.ts"
import { alarm } from "./alarm.ts"

/** Grows when a persisted snapshot of an older machine can no longer be restored; then the columns rebuild it. */
export const MICROVM_MACHINE_VERSION = 2

export interface MicrovmInput {
  readonly id: string
  readonly vmId: string
  /** What the row says; PENDING for a new one. */
  readonly state: MicrovmState
  readonly cause: Cause
  readonly stateReason: string | null
  readonly deadlineAt: number
  readonly suspendedAt: number | null
  readonly idlePolicy: IdlePolicy | null
}

/** Who wished it, for the audit log. */
interface By {
  readonly accessKeyId: string
  readonly requestId: string
}

interface MicrovmContext extends MicrovmInput {
  /** Why it is to be awake, until it is. The API's wish stays; a request's is worth what is still held. */
  readonly wish: { readonly cause: "api" | "request"; readonly by: By | null } | null
  readonly failure: Failure | null
  /** The caller of the wish that is coming true. */
  readonly by: By | null
}

export type MicrovmEvent =
  | { type: "SUSPEND"; cause: Cause; by?: By }
  | { type: "RESUME"; by?: By }
  | { type: "WAKE" }
  | { type: "TERMINATE"; cause: Cause; reason: string; by?: By }
  | { type: "EXITED"; cause: Cause; reason: string }
  | { type: "IDLE" }
  | { type: "QUIET" }
  | { type: "DRAINED" }
  | { type: "DEADLINE" }
  | { type: "SUSPENSION_OVER" }

/** What a statechart does to a VM; every verb is idempotent by the VM's id and leaves nothing behind when it rejects. */
export interface VmVerbs {
  /** A fresh launch from the base; an earlier try is thrown away. */
  launch(vmId: string, signal: AbortSignal): Promise<void>
  /** Snapshot to disk, and no process that runs. Resolves `false` when that failed and the VM runs on. */
  sleep(vmId: string, signal: AbortSignal): Promise<boolean>
  /** From asleep to running. Resolves `false` when that failed before the snapshot was used up: it still sleeps. */
  wake(vmId: string, signal: AbortSignal): Promise<boolean>
  /** Takes over a running VM after a restart, then resolves with how it ended: a fact to send on. */
  watch(vmId: string, signal: AbortSignal): Promise<{ cause: Cause; reason: string }>
  /** Process, slot, overlay and delta are gone when it resolves. */
  end(vmId: string): Promise<void>
}

/** How long what was sent to a VM may take to be answered when the API suspends it: for emulated guests on a busy host, and for long polls. */
const DRAIN_MS = 60_000
const LIFETIME_OVER = "MicroVM exceeded maximum lifetime."

/** Why an alarm or a fact ended a life; both alarms answer with AWS's one sentence. */
const endings = {
  DEADLINE: { cause: "deadline", stateReason: LIFETIME_OVER },
  SUSPENSION_OVER: { cause: "idle", stateReason: LIFETIME_OVER },
} as const satisfies Record<string, { cause: Cause; stateReason: string }>

/** The statechart over a host's verbs and the edge's count of what is in use. */
export const createMicrovmMachine = (verbs: VmVerbs, activityOf: (id: string) => Activity, drainMs = DRAIN_MS) =>
  setup({
    types: {
      input: {} as MicrovmInput,
      context: {} as MicrovmContext,
      events: {} as MicrovmEvent,
      tags: {} as "awake" | "connected" | "over",
    },
    actors: {
      alarm,
      idleAlarm: createIdleAlarm(activityOf),
      quietWatch: createQuietWatch(activityOf),
      launch: fromPromise<void, { vmId: string }>(({ input, signal }) => verbs.launch(input.vmId, signal)),
      sleep: fromPromise<boolean, { vmId: string }>(({ input, signal }) => verbs.sleep(input.vmId, signal)),
      wake: fromPromise<boolean, { vmId: string }>(({ input, signal }) => verbs.wake(input.vmId, signal)),
      watch: fromPromise<{ cause: Cause; reason: string }, { vmId: string }>(({ input, signal }) =>
        verbs.watch(input.vmId, signal),
      ),
      end: fromPromise<void, { vmId: string }>(({ input }) => verbs.end(input.vmId)),
    },
    guards: {
      sleepsWhenIdle: ({ context }) => (context.idlePolicy?.suspendedSeconds ?? 0) > 0,
      endsSuspension: ({ context }) => context.idlePolicy !== null,
      isQuiet: ({ context }) => isQuiet(activityOf(context.id)),
      isAskedFor: ({ context }) => context.wish?.cause === "api",
      isHeldFor: ({ context }) => activityOf(context.id).held > 0,
    },
    actions: {
      /** A wish that is true already is taken, not refused: `can` answers by it. */
      alreadySo: () => {},
      noteCause: assign({
        cause: ({ context, event }) => ("cause" in event ? event.cause : context.cause),
        by: ({ event }) => ("by" in event ? event.by : null),
      }),
      noteResume: assign({
        wish: ({ event }) => ({ cause: "api" as const, by: ("by" in event ? event.by : undefined) ?? null }),
      }),
      noteWake: assign({ wish: { cause: "request" as const, by: null } }),
      noteWoken: assign({
        cause: ({ context }) => context.wish?.cause ?? "request",
        by: ({ context }) => context.wish?.by ?? null,
      }),
      noteSlept: assign({ suspendedAt: () => Date.now() }),
      forgetWish: assign({ wish: null }),
      noteEnding: assign({
        by: ({ event }) => ("by" in event ? event.by : null),
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
      noteFailure: assign((_, { doing, error }: { doing: string; error: unknown }) => ({
        cause: "host" as const,
        failure: toFailure(error),
        stateReason: `The MicroVM could not be ${doing}: ${toFailure(error).message}`,
      })),
    },
  }).createMachine({
    id: "microvm",
    context: ({ input }) => ({ ...input, wish: null, failure: null, by: null }),
    initial: "entering",
    states: {
      entering: {
        always: [
          { guard: ({ context }) => context.state === "TERMINATED", target: "terminated" },
          { guard: ({ context }) => context.state === "TERMINATING", target: "terminating" },
          { guard: ({ context }) => context.state === "SUSPENDED", target: "alive.suspended" },
          { guard: ({ context }) => context.state === "SUSPENDING", target: "alive.suspending" },
          { guard: ({ context }) => context.state === "RUNNING", target: "alive.running" },
          { target: "alive.pending" },
        ],
      },
      alive: {
        invoke: {
          src: "alarm",
          input: ({ context }) => ({ at: context.deadlineAt, event: { type: "DEADLINE" } }),
        },
        on: {
          TERMINATE: { target: "terminating", actions: "noteEnding" },
          DEADLINE: { target: "terminating", actions: "noteEnding" },
          EXITED: { target: "terminating", actions: "noteEnding" },
        },
        initial: "pending",
        states: {
          pending: {
            invoke: {
              src: "launch",
              input: ({ context }) => ({ vmId: context.vmId }),
              onDone: "running",
              onError: {
                target: "#microvm.terminating",
                actions: { type: "noteFailure", params: ({ event }) => ({ doing: "started", error: event.error }) },
              },
            },
          },
          running: {
            tags: ["awake", "connected"],
            entry: assign({ suspendedAt: null, wish: null, failure: null }),
            invoke: [
              {
                src: "watch",
                input: ({ context }) => ({ vmId: context.vmId }),
                onDone: {
                  target: "#microvm.terminating",
                  actions: assign({
                    cause: ({ event }) => event.output.cause,
                    stateReason: ({ event }) => event.output.reason,
                  }),
                },
                onError: {
                  target: "#microvm.terminating",
                  actions: {
                    type: "noteFailure",
                    params: ({ event }) => ({ doing: "kept running", error: event.error }),
                  },
                },
              },
              {
                src: "idleAlarm",
                input: ({ context }) => ({
                  id: context.id,
                  idleMs: context.idlePolicy === null ? null : context.idlePolicy.maxIdleSeconds * 1000,
                }),
              },
            ],
            on: {
              SUSPEND: { target: "suspending", actions: "noteCause" },
              RESUME: { actions: "alreadySo" },
              IDLE: [
                { guard: "sleepsWhenIdle", target: "suspending", actions: assign({ cause: "idle", by: null }) },
                { target: "#microvm.terminating", actions: assign({ cause: "idle", stateReason: LIFETIME_OVER }) },
              ],
            },
          },
          suspending: {
            initial: "draining",
            on: {
              SUSPEND: { actions: "forgetWish" },
              RESUME: { actions: "noteResume" },
            },
            states: {
              draining: {
                tags: "connected",
                always: { guard: "isQuiet", target: "freezing" },
                invoke: [
                  { src: "quietWatch", input: ({ context }) => ({ id: context.id }) },
                  { src: "alarm", input: () => ({ at: Date.now() + drainMs, event: { type: "DRAINED" } }) },
                ],
                on: { QUIET: "freezing", DRAINED: "freezing" },
              },
              freezing: {
                invoke: {
                  src: "sleep",
                  input: ({ context }) => ({ vmId: context.vmId }),
                  onDone: [
                    {
                      guard: ({ event }) => !event.output,
                      target: "#microvm.alive.running",
                      actions: assign({ cause: "host", by: null }),
                    },
                    { guard: "isAskedFor", target: "#microvm.alive.resuming", actions: "noteSlept" },
                    { guard: "isHeldFor", target: "#microvm.alive.resuming", actions: ["noteSlept", "noteWake"] },
                    { target: "#microvm.alive.suspended", actions: "noteSlept" },
                  ],
                  onError: {
                    target: "#microvm.terminating",
                    actions: {
                      type: "noteFailure",
                      params: ({ event }) => ({ doing: "suspended", error: event.error }),
                    },
                  },
                },
              },
            },
          },
          suspended: {
            entry: "forgetWish",
            invoke: {
              src: "alarm",
              input: ({ context }) => ({
                at:
                  context.idlePolicy === null
                    ? context.deadlineAt
                    : (context.suspendedAt ?? Date.now()) + context.idlePolicy.suspendedSeconds * 1000,
                event: { type: "SUSPENSION_OVER" },
              }),
            },
            on: {
              SUSPEND: { actions: "alreadySo" },
              RESUME: { target: "resuming", actions: "noteResume" },
              WAKE: { target: "resuming", actions: "noteWake" },
              SUSPENSION_OVER: { guard: "endsSuspension", target: "#microvm.terminating", actions: "noteEnding" },
            },
          },
          resuming: {
            invoke: {
              src: "wake",
              input: ({ context }) => ({ vmId: context.vmId }),
              onDone: [
                { guard: ({ event }) => !event.output, target: "suspended" },
                { guard: or(["isAskedFor", "isHeldFor"]), target: "running", actions: "noteWoken" },
                // Every client gave up: back to where it was, whatever its idle policy, rather than awake for nobody.
                { target: "suspending", actions: assign({ cause: "idle", by: null, wish: null, suspendedAt: null }) },
              ],
              onError: {
                target: "#microvm.terminating",
                actions: { type: "noteFailure", params: ({ event }) => ({ doing: "resumed", error: event.error }) },
              },
            },
            on: { RESUME: { actions: "noteResume" } },
          },
        },
      },
      terminating: {
        invoke: {
          src: "end",
          input: ({ context }) => ({ vmId: context.vmId }),
          onDone: "terminated",
          // What could not be removed now is removed by the sweep at the next start; the VM is over all the same.
          onError: "terminated",
        },
        on: { TERMINATE: { actions: "alreadySo" } },
      },
      terminated: { type: "final", tags: "over" },
    },
  })

export type MicrovmMachine = ReturnType<typeof createMicrovmMachine>

/** The state as AWS names it. */
export const toMicrovmState = (snapshot: SnapshotFrom<MicrovmMachine>): MicrovmState => {
  if (snapshot.matches("terminated")) return "TERMINATED"
  if (snapshot.matches("terminating")) return "TERMINATING"
  if (snapshot.matches({ alive: "running" })) return "RUNNING"
  if (snapshot.matches({ alive: "suspending" })) return "SUSPENDING"
  if (snapshot.matches({ alive: "suspended" }) || snapshot.matches({ alive: "resuming" })) return "SUSPENDED"
  return "PENDING"
}
