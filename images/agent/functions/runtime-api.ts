/**
 * The APIs that a runtime and its extensions know of Lambda, on one port: Runtime, Extensions and Telemetry. One of these serves one
 * life of an environment's processes; whoever owns them starts the processes, gives the events, and ends it all when a life has failed.
 */
import { randomUUID } from "node:crypto"
import { createExchangeServer } from "./exchange.ts"
import { createExtensions, type Extension, type FunctionIdentity, type ShutdownReason } from "./extensions.ts"
import { createInvocation, type Answer, type Failure, type Invocation, type InvocationEvent } from "./invocation.ts"
import { createChannels } from "./runtime-channel.ts"
import type { ProgramPort } from "./program-port.ts"
import { createRuntime, type RestoredVariables } from "./runtime.ts"
import { createTelemetry } from "./telemetry/telemetry.ts"

const MAX_STREAMED_BYTES = 200 * 1024 ** 2

export interface RuntimeApiOptions {
  /** Where they are reached, as long as this life has it. */
  readonly programPort: ProgramPort
  readonly identity: FunctionIdentity
  /** The names of the extensions that are started as programs of their own. */
  readonly extensions: readonly string[]
  /** The runtime of a `snap-start` may wait for a restore, and run hooks around it. */
  readonly initializationType: "on-demand" | "provisioned-concurrency" | "snap-start"
  readonly maxStreamedBytes?: number
}

export interface RuntimeApi extends AsyncDisposable {
  readonly port: number
  /** Resolves when every external extension has registered: now the runtime may be started. */
  readonly registered: Promise<void>
  /** Resolves when the runtime and all extensions asked for their first event; the restore of a snapshot is not yet in it. */
  readonly initialised: Promise<void>
  /** Resolves with why this life is over: what the runtime or an extension said, or its owner. */
  readonly failed: Promise<Failure>
  /** Gives the runtime and the extensions an event, as soon as they ask. One at a time: throws when the last is not settled. */
  invoke(event: InvocationEvent): Answer
  /** A restored runtime goes on, with these variables; `restored` says when it asks for its first event. */
  restore(variables: RestoredVariables): void
  readonly restored: Promise<void>
  /** Its process has ended, or its time: the invocation in progress ends with this, and there is no other. The first failure stays. */
  fail(failure: Failure | ((requestId: string) => Failure)): void
  /** A record of what its owner knows, for the extensions that subscribed. */
  record(type: `platform.${string}`, record: object): void
  /** A line that a program said. */
  line(kind: "function" | "extension", line: string): void
  /** Some have registered, in the runtime or beside it. */
  readonly hasExtensions: boolean
  /** It has failed: there is no other invocation. */
  readonly isOver: boolean
  /** Tells the extensions that want to know; their processes end themselves, or are ended. */
  shutdown(reason: ShutdownReason, deadlineMs: number): void
  /** Sends them what is held of records and lines. */
  flush(): Promise<void>
}

/** For a runtime and extensions that are about to be started. Whoever opens it disposes it, which closes every connection. */
export const openRuntimeApi = (options: RuntimeApiOptions): RuntimeApi => {
  const registered = Promise.withResolvers<void>()
  const initialised = Promise.withResolvers<void>()
  const restored = Promise.withResolvers<void>()
  const failed = Promise.withResolvers<Failure>()
  let current: Invocation | undefined
  let failure: Failure | undefined
  let isInitialised = false
  let isRestored = false

  const openedAt = performance.now()
  const init = { initializationType: options.initializationType, phase: "init" }
  const { functionName, functionVersion } = options.identity

  const runtimeDone = (invocation: Invocation, status: object) => {
    const metrics = { durationMs: invocation.durationMs(), producedBytes: invocation.producedBytes() }
    telemetry.platform("platform.runtimeDone", { requestId: invocation.event.requestId, ...status, metrics })
  }

  const fail = (reason: Failure) => {
    if (failure === undefined && !isInitialised)
      telemetry.platform("platform.initRuntimeDone", { ...init, status: "error", errorType: reason.errorType })
    if (failure === undefined && current !== undefined && !current.isEnded()) {
      const status = reason.errorType === "Sandbox.Timedout" ? "timeout" : "failure"
      runtimeDone(current, { status, errorType: reason.errorType })
    }
    failure ??= reason
    current?.finish(failure)
    current?.settle()
    current = undefined
    failed.resolve(failure)
  }

  const moved = () => {
    if (isRestored && runtime.isReady) restored.resolve()
    if (extensions.areRegistered) registered.resolve()
    // An invocation that came before the end of init waits for all of them, as one does that follows another.
    if (!runtime.isWaiting || !extensions.areWaiting || !extensions.areRegistered) return
    if (!isInitialised) {
      isInitialised = true
      telemetry.platform("platform.initRuntimeDone", { ...init, status: "success" })
      telemetry.platform("platform.initReport", { ...init, metrics: { durationMs: performance.now() - openedAt } })
      initialised.resolve()
    }
    if (current === undefined) return
    if (!current.isEnded()) return runtime.invoke(current)
    current.settle()
    current = undefined
  }

  const events = {
    onMoved: moved,
    onFailure: fail,
    onRegistered(extension: Extension) {
      const { name, events: subscribed } = extension
      telemetry.platform("platform.extension", { name, state: "Registered", events: [...subscribed] })
      moved()
    },
    onGiven({ event }: Invocation) {
      const { requestId, functionArn } = event
      telemetry.platform("platform.start", { requestId, functionArn, version: functionVersion })
      extensions.invoke(event)
    },
    onAnswered: (invocation: Invocation, why: Failure | undefined) =>
      runtimeDone(
        invocation,
        why === undefined ? { status: "success" } : { status: "error", errorType: why.errorType },
      ),
  }
  const runtime = createRuntime(events, {
    maxStreamedBytes: options.maxStreamedBytes ?? MAX_STREAMED_BYTES,
    isSnapshotted: options.initializationType === "snap-start",
  })
  const extensions = createExtensions(options.identity, options.extensions, () => !isInitialised, events)
  const telemetry = createTelemetry(
    ({ request }) => extensions.find(request),
    () => !isInitialised,
  )
  telemetry.platform("platform.initStart", { ...init, functionName, functionVersion })
  moved()

  const createHttp = () =>
    createExchangeServer({
      ...runtime.routes,
      ...extensions.routes,
      ...telemetry.routes,
      "GET /2018-06-01/ping": ({ response }) => {
        response.writeHead(200, { "content-type": "text/plain" })
        response.end("pong")
      },
    })
  const leave = options.programPort.enter(createChannels(runtime.channel), createHttp)

  return {
    port: options.programPort.port,
    registered: registered.promise,
    initialised: initialised.promise,
    failed: failed.promise,
    invoke(event) {
      if (current !== undefined) throw new Error(`Invocation ${current.event.requestId} is not over`)
      const invocation = createInvocation(event)
      if (failure !== undefined) {
        invocation.finish(failure)
        invocation.settle()
        return invocation.answer
      }
      current = invocation
      moved()
      return invocation.answer
    },
    restored: restored.promise,
    restore(variables) {
      isRestored = true
      runtime.restore(variables)
      moved()
    },
    fail: (why) => fail(typeof why === "function" ? why(current?.event.requestId ?? randomUUID()) : why),
    record: telemetry.platform,
    line: telemetry.line,
    get hasExtensions() {
      return extensions.areThere
    },
    get isOver() {
      return failure !== undefined
    },
    shutdown: (reason, deadlineMs) => extensions.shutdown(reason, deadlineMs),
    flush: telemetry.flush,
    async [Symbol.asyncDispose]() {
      telemetry.close()
      await leave()
    },
  }
}
