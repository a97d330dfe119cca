/**
 * The life of one MicroVM. Its actor, owned by the registry, is the only writer of its row in `microvms`.
 *
 *            ┌────────── relaunch ─────────┐
 *  entering ─┤                             ▼
 *   (by row) ├─► pending ──launched──► running ◄──woken── resuming ◄─┐
 *            │      │                   │  ▲                  │      │ RESUME
 *            │      │        SUSPEND,IDLE  │ not slept        │      │
 *            │      │                   ▼  │                  │      │
 *            │      │              suspending ──slept──► suspended ──┘
 *            │      │                   │                     │
 *            └──────┴──── TERMINATE, DEADLINE, EXITED, SUSPENSION_OVER, any failure
 *                                       ▼
 *                                  terminating ──ended──► terminated
 *
 * Wishes (SUSPEND, RESUME, TERMINATE) come from the API, the edge and alarms; facts (EXITED, DEADLINE) from the world.
 * `resuming` is SUSPENDED to the outside, as it is on AWS. Why each life ended is in `cause` and `stateReason`.
 */
import { assign, fromPromise, setup, type SnapshotFrom } from "xstate"
import type { Cause, IdlePolicy, MicrovmState } from "../src/db/values.ts"
import { toFailure, type Failure } from "../src/errors.ts"
import { alarm, createIdleAlarm, type Activity } from "./alarm.ts"

/** Grows when a persisted snapshot of an older machine can no longer be restored; then the columns rebuild it. */
export const MICROVM_MACHINE_VERSION = 1

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
  /** A request came while it was going to sleep: it is awake again as soon as it sleeps. */
  readonly wanted: boolean
  readonly failure: Failure | null
  /** The caller of the wish that is coming true. */
  readonly by: By | null
}

export type MicrovmEvent =
  | { type: "SUSPEND"; cause: Cause; by?: By }
  | { type: "RESUME"; cause: Cause; by?: By }
  | { type: "TERMINATE"; cause: Cause; reason: string; by?: By }
  | { type: "EXITED"; cause: Cause; reason: string }
  | { type: "IDLE" }
  | { type: "DEADLINE" }
  | { type: "SUSPENSION_OVER" }

/** What a statechart does to a VM; every verb is idempotent by the VM's id and leaves nothing behind when it rejects. */
export interface VmVerbs {
  /** A fresh launch from the base; an earlier try is thrown away. */
  launch(vmId: string, signal: AbortSignal): Promise<void>
  /** Snapshot to disk and no process. Resolves `false` when that failed and the VM runs on. */
  sleep(vmId: string, signal: AbortSignal): Promise<boolean>
  /** From disk to running. Resolves `false` when that failed before the snapshot was used up: it still sleeps. */
  wake(vmId: string, signal: AbortSignal): Promise<boolean>
  /** Takes over a running VM after a restart, then resolves with how it ended: a fact to send on. */
  watch(vmId: string, signal: AbortSignal): Promise<{ cause: Cause; reason: string }>
  /** Process, slot, overlay and delta are gone when it resolves. */
  end(vmId: string): Promise<void>
}

const LIFETIME_OVER = "MicroVM exceeded maximum lifetime."

/** Why an alarm or a fact ended a life; both alarms answer with AWS's one sentence. */
const endings = {
  DEADLINE: { cause: "deadline", stateReason: LIFETIME_OVER },
  SUSPENSION_OVER: { cause: "idle", stateReason: LIFETIME_OVER },
} as const satisfies Record<string, { cause: Cause; stateReason: string }>

/** The statechart over a host's verbs and the edge's count of what is in use. */
export const createMicrovmMachine = (verbs: VmVerbs, activityOf: (id: string) => Activity) =>
  setup({
    types: {
      input: {} as MicrovmInput,
      context: {} as MicrovmContext,
      events: {} as MicrovmEvent,
      tags: {} as "awake" | "wakeable" | "over",
    },
    actors: {
      alarm,
      idleAlarm: createIdleAlarm(activityOf),
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
      isWanted: ({ context }) => context.wanted,
    },
    actions: {
      /** A wish that is true already is taken, not refused: `can` answers by it. */
      alreadySo: () => {},
      noteCause: assign({
        cause: ({ context, event }) => ("cause" in event ? event.cause : context.cause),
        by: ({ event }) => ("by" in event ? event.by : null),
      }),
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
    context: ({ input }) => ({ ...input, wanted: false, failure: null, by: null }),
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
            tags: "wakeable",
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
            tags: ["awake", "wakeable"],
            entry: assign({ suspendedAt: null, wanted: false, failure: null }),
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
            tags: "wakeable",
            invoke: {
              src: "sleep",
              input: ({ context }) => ({ vmId: context.vmId }),
              onDone: [
                { guard: ({ event }) => !event.output, target: "running" },
                {
                  guard: "isWanted",
                  target: "resuming",
                  actions: assign({ suspendedAt: () => Date.now() }),
                },
                { target: "suspended", actions: assign({ suspendedAt: () => Date.now() }) },
              ],
              onError: {
                target: "#microvm.terminating",
                actions: { type: "noteFailure", params: ({ event }) => ({ doing: "suspended", error: event.error }) },
              },
            },
            on: {
              SUSPEND: { actions: assign({ wanted: false }) },
              RESUME: { actions: ["noteCause", assign({ wanted: true })] },
            },
          },
          suspended: {
            tags: "wakeable",
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
              RESUME: { target: "resuming", actions: "noteCause" },
              SUSPENSION_OVER: { guard: "endsSuspension", target: "#microvm.terminating", actions: "noteEnding" },
            },
          },
          resuming: {
            tags: "wakeable",
            invoke: {
              src: "wake",
              input: ({ context }) => ({ vmId: context.vmId }),
              onDone: [{ guard: ({ event }) => event.output, target: "running" }, { target: "suspended" }],
              onError: {
                target: "#microvm.terminating",
                actions: { type: "noteFailure", params: ({ event }) => ({ doing: "resumed", error: event.error }) },
              },
            },
            on: { RESUME: { actions: "alreadySo" } },
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
