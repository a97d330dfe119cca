/**
 * The life of one version of an image, from a recipe to a base. Its actor is the only writer of its row in `image_versions`,
 * and of the build's row.
 *
 *  entering ─► queued ──► fetching ──► building ──► starting ──► capturing ──► cleaning ──► successful
 *     │                      │            │             │             │            │
 *     │ (interrupted)        └────────────┴─ failure, ──┴─────────────┘            └─(failure)─► failed
 *     │                                      CANCEL
 *     └──────────────────────────────────────────► cleaning
 *
 * The build VM belongs to this chart: whatever happens, `cleaning` ends it. A build that a dying daemon left is not taken up
 * again: it FAILED with that reason, and a fresh try is cheap, since finished steps are cached.
 */
import { assign, fromPromise, setup, type SnapshotFrom } from "xstate"
import type { VersionState } from "../src/db/values.ts"
import { toFailure, type Failure } from "../src/errors.ts"

/** Grows when a persisted snapshot of an older machine can no longer be restored. */
export const IMAGE_VERSION_MACHINE_VERSION = 1

export interface ImageVersionInput {
  readonly id: string
  readonly buildId: string
  /** What the row says; PENDING for a new one. */
  readonly state: VersionState
}

/** Who gave it up. */
interface By {
  readonly accessKeyId: string
  readonly requestId: string
}

export interface ImageVersionEvent {
  readonly type: "CANCEL"
  readonly by: By
}

interface ImageVersionContext extends ImageVersionInput {
  readonly failure: Failure | null
  readonly cancelledBy: By | null
}

/** The phases of a build, each idempotent by the version's id; what they share is held by whoever implements them. */
export interface BuildVerbs {
  /** Resolves when it is this build's turn. */
  queue(id: string, signal: AbortSignal): Promise<void>
  /** The archive is here and its Dockerfile understood. */
  fetch(id: string, signal: AbortSignal): Promise<void>
  /** A build VM runs and every step has been executed, or found in the cache. */
  build(id: string, signal: AbortSignal): Promise<void>
  /** The application runs and is ready. */
  start(id: string, signal: AbortSignal): Promise<void>
  /** Memory, devices and disk are a base on disk. */
  capture(id: string, signal: AbortSignal): Promise<void>
  /** Nothing but results is left; called in every case. */
  clean(id: string): Promise<void>
}

export const INTERRUPTED =
  "The build was interrupted: the service stopped while it ran. Try again; finished steps are kept."

/** The statechart over the phases of a build. */
export const createImageVersionMachine = (verbs: BuildVerbs) => {
  const phase = (verb: "queue" | "fetch" | "build" | "start" | "capture") =>
    fromPromise<void, { id: string }>(({ input, signal }) => verbs[verb](input.id, signal))
  /** The verb at work is aborted; what it leaves is cleaned as after any failure. */
  const cancelled = {
    target: "cleaning",
    actions: { type: "noteCancellation", params: ({ event }: { event: ImageVersionEvent }) => event },
  } as const
  return setup({
    types: {
      input: {} as ImageVersionInput,
      context: {} as ImageVersionContext,
      events: {} as ImageVersionEvent,
    },
    actors: {
      queue: phase("queue"),
      fetch: phase("fetch"),
      build: phase("build"),
      start: phase("start"),
      capture: phase("capture"),
      clean: fromPromise<void, { id: string }>(({ input }) => verbs.clean(input.id)),
    },
    actions: {
      noteFailure: assign((_, { error }: { error: unknown }) => ({ failure: toFailure(error) })),
      noteCancellation: assign((_, { by }: { by: By }) => ({
        cancelledBy: by,
        failure: { name: "CANCELLED", message: `The build was cancelled by ${by.accessKeyId}.` },
      })),
      noteInterruption: assign({ failure: { name: "INTERNAL_PLATFORM_ERROR", message: INTERRUPTED } }),
    },
  }).createMachine({
    id: "image-version",
    context: ({ input }) => ({ ...input, failure: null, cancelledBy: null }),
    initial: "entering",
    states: {
      entering: {
        always: [
          { guard: ({ context }) => context.state === "PENDING", target: "queued" },
          { guard: ({ context }) => context.state === "SUCCESSFUL", target: "successful" },
          { guard: ({ context }) => context.state === "FAILED", target: "failed" },
          { target: "cleaning", actions: "noteInterruption" },
        ],
      },
      queued: {
        on: { CANCEL: cancelled },
        invoke: {
          src: "queue",
          input: ({ context }) => ({ id: context.id }),
          onDone: "fetching",
          onError: { target: "cleaning", actions: { type: "noteFailure", params: ({ event }) => event } },
        },
      },
      fetching: {
        on: { CANCEL: cancelled },
        invoke: {
          src: "fetch",
          input: ({ context }) => ({ id: context.id }),
          onDone: "building",
          onError: { target: "cleaning", actions: { type: "noteFailure", params: ({ event }) => event } },
        },
      },
      building: {
        on: { CANCEL: cancelled },
        invoke: {
          src: "build",
          input: ({ context }) => ({ id: context.id }),
          onDone: "starting",
          onError: { target: "cleaning", actions: { type: "noteFailure", params: ({ event }) => event } },
        },
      },
      starting: {
        on: { CANCEL: cancelled },
        invoke: {
          src: "start",
          input: ({ context }) => ({ id: context.id }),
          onDone: "capturing",
          onError: { target: "cleaning", actions: { type: "noteFailure", params: ({ event }) => event } },
        },
      },
      capturing: {
        on: { CANCEL: cancelled },
        invoke: {
          src: "capture",
          input: ({ context }) => ({ id: context.id }),
          onDone: "cleaning",
          onError: { target: "cleaning", actions: { type: "noteFailure", params: ({ event }) => event } },
        },
      },
      cleaning: {
        invoke: {
          src: "clean",
          input: ({ context }) => ({ id: context.id }),
          onDone: [{ guard: ({ context }) => context.failure === null, target: "successful" }, { target: "failed" }],
          // What could not be removed now is removed by the sweep at the next start.
          onError: [{ guard: ({ context }) => context.failure === null, target: "successful" }, { target: "failed" }],
        },
      },
      successful: { type: "final" },
      failed: { type: "final" },
    },
  })
}

export type ImageVersionMachine = ReturnType<typeof createImageVersionMachine>

/** The version's state as AWS names it. */
export const toVersionState = (snapshot: SnapshotFrom<ImageVersionMachine>): VersionState => {
  if (snapshot.matches("successful")) return "SUCCESSFUL"
  if (snapshot.matches("failed")) return "FAILED"
  return snapshot.matches("queued") || snapshot.matches("entering") ? "PENDING" : "IN_PROGRESS"
}
