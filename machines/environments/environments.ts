/** Execution environments, as whoever gives them events sees them. */
import type { Readable } from "node:stream"
import type { InvocationSpec } from "../../src/agent/protocol.ts"
import type { Cause } from "../../src/db/values.ts"
import type { Definition } from "../functions/definition.ts"

export type InitializationType = "on-demand" | "provisioned-concurrency" | "snap-start"

export interface Environments {
  /**
   * Makes an environment and begins its Init; resolves when it can be given its first event: also when its Init failed, which is then
   * repeated within that event. Rejects with {@link HostFull} when this host has no room now, with `HostTooSmall` when it never will, and with what happened when the VM failed.
   */
  start(definition: Definition, initialization: InitializationType, signal: AbortSignal): Promise<Environment>
  /** Those that were taken over from an earlier daemon and wait for an event. */
  idle(): readonly Environment[]
}

/** This host cannot hold another VM of this size before one of those that are there has ended. */
export class HostFull extends Error {
  override readonly name = "HostFull"
}

export interface Environment {
  readonly id: string
  readonly definitionId: string
  readonly functionId: string
  readonly initialization: InitializationType
  /** What of this host's memory its end would give back. */
  readonly memoryMiB: number
  /** The kind of failure of its Init (`Runtime.ImportModuleError`), when that failed; `undefined` when it didn't, or has not been heard of since. */
  readonly initFailure: string | undefined
  /** It takes no more events: it is at its end, or about to be. */
  readonly isOver: boolean
  /** Resolves when nothing of it is left on this host, whoever ended it. */
  readonly over: Promise<void>
  /** Gives an event, one at a time: the answer before has been settled. Its VM is thawed before and frozen after it. */
  invoke(event: EnvironmentEvent): EnvironmentAnswer
  /** Its memory goes to disk and its process ends, until it is given its next event. Nothing happens while it is at one; returns at once. */
  deflate(): void
  /** Ends it, its Shutdown phase included; returns at once. An event that it is at is ended with it. */
  end(cause: Cause, reason: string): void
}

export interface EnvironmentEvent {
  /** Its `deadlineMs` is the environment's to say: from when the function's time begins. */
  readonly spec: Omit<InvocationSpec, "deadlineMs">
  readonly payload: Buffer
  readonly timeoutMs: number
}

/** An error that the function's caller is told of. */
export interface FunctionFailure {
  /** For logs and metrics: `Runtime.ExitError`. */
  readonly errorType: string
  /** JSON, for the caller. */
  readonly body: Buffer
}

export interface EnvironmentAnswer {
  /** Resolves with the response's first byte or before it; `undefined` when it failed without a response. Rejects when it was never given: another environment may have it. */
  readonly head: Promise<{ readonly contentType: string; readonly isStreamed: boolean } | undefined>
  /** The response's bytes, at the reader's pace; ends also when it fails. Whoever does not want them destroys it. */
  readonly body: Readable
  /** Resolves when the answer is whole: `undefined`, or how it failed. */
  readonly end: Promise<FunctionFailure | undefined>
  /** Resolves when runtime and extensions are done with it and its lines are in the log. It never rejects. */
  readonly settled: Promise<Settlement>
}

export interface Settlement {
  readonly durationMs: number
  /** What is billed: whole milliseconds, its Init's or its restore's hooks included when there were any. */
  readonly billedMs: number
  /** Of the Init that this event waited for. */
  readonly initMs: number | undefined
  readonly maxMemoryBytes: number
  /** The last 4 KB of this event's lines in the log, platform lines included. */
  readonly tail: Buffer
}
