import { randomUUID } from "node:crypto"
import { PassThrough, Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import {
  HostFull,
  type Environment,
  type EnvironmentAnswer,
  type EnvironmentEvent,
  type Environments,
  type FunctionFailure,
  type InitializationType,
} from "../../../machines/environments/environments.ts"
import { unlessAborted } from "../../../src/abort.ts"
import type { Cause } from "../../../src/db/values.ts"
import type { Definition } from "../../../machines/functions/definition.ts"

/** What a function answers to an event. */
export interface MemoryResponse {
  readonly contentType?: string
  readonly isStreamed?: boolean
  readonly body?: Buffer | string | Readable
  readonly failure?: FunctionFailure
  /** The event is never given to the function. */
  readonly isLost?: boolean
}

export type MemoryHandler = (
  event: EnvironmentEvent,
  environment: MemoryEnvironment,
) => MemoryResponse | Promise<MemoryResponse>

export interface MemoryEnvironment extends Environment {
  readonly definition: Definition
  readonly ended: { readonly cause: Cause; readonly reason: string } | undefined
  readonly isDeflated: boolean
  readonly events: number
}

export interface MemoryOptions {
  /** Of the host. */
  capacityMiB?: number
  handler?: MemoryHandler
  /** What a start waits for, and may fail of. */
  init?: (definition: Definition, initialization: InitializationType) => Promise<{ initFailure?: string } | void>
  /** What an event's end waits for, after its answer. */
  settles?: () => Promise<void>
  /** Those that an earlier daemon has left. */
  idle?: readonly Environment[]
}

/** Environments that are functions of this process, on a host of so much memory. */
export const createMemoryEnvironments = (options: MemoryOptions = {}) => {
  const made: MemoryEnvironment[] = []
  const listeners = new Set<() => void>()
  let usedMiB = 0

  const create = (definition: Definition, initialization: InitializationType, initFailure: string | undefined) => {
    const over = Promise.withResolvers<void>()
    const memoryMiB = definition.settings.memoryMiB
    let [isBusy, isOver, isDeflated, events] = [false, false, false, 0]
    let ended: MemoryEnvironment["ended"]
    const giveBack = () => {
      usedMiB -= memoryMiB
      queueMicrotask(() => {
        for (const listener of listeners) listener()
      })
    }
    const environment: MemoryEnvironment = {
      id: randomUUID(),
      definition,
      definitionId: definition.id,
      functionId: definition.functionId,
      initialization,
      initFailure,
      get memoryMiB() {
        return isDeflated ? 0 : memoryMiB
      },
      get isDeflated() {
        return isDeflated
      },
      over: over.promise,
      get isOver() {
        return isOver
      },
      get ended() {
        return ended
      },
      get events() {
        return events
      },
      invoke(event) {
        if (isBusy) throw new Error("Two events have met in one environment")
        if (isOver) throw new Error("It is over")
        if (isDeflated && usedMiB + memoryMiB > (options.capacityMiB ?? Infinity)) return refused(new HostFull())
        if (isDeflated) usedMiB += memoryMiB
        isDeflated = false
        isBusy = true
        events += 1
        const began = performance.now()
        const answered = Promise.resolve((options.handler ?? echo)(event, environment))
        const body = new PassThrough()
        const wholly = answered.then(async (response) => {
          if (response.isLost === true) throw new Error("The environment has vanished")
          // Whoever does not want it any more destroys it.
          if (response.body instanceof Readable) await pipeline(response.body, body).catch(() => {})
          else body.end(response.body)
          return response.failure
        })
        const settled = wholly.then(
          () => options.settles?.(),
          () => {},
        )
        wholly.catch(() => body.end())
        return {
          head: answered.then(
            ({ isLost, contentType = "application/json", isStreamed = false, body: given, failure }) => {
              if (isLost === true) throw new Error("The environment has vanished")
              return given === undefined && failure !== undefined ? undefined : { contentType, isStreamed }
            },
          ),
          body,
          end: wholly,
          settled: settled.then(() => {
            isBusy = false
            const durationMs = performance.now() - began
            return {
              durationMs,
              billedMs: Math.ceil(durationMs),
              initMs: undefined,
              maxMemoryBytes: 2 ** 25,
              tail: Buffer.from(`START RequestId: ${event.spec.requestId}\n`),
            }
          }),
        }
      },
      deflate() {
        if (isBusy || isDeflated || isOver) return
        isDeflated = true
        giveBack()
      },
      end(cause, reason) {
        if (isOver) return
        isOver = true
        ended = { cause, reason }
        queueMicrotask(over.resolve)
        if (!isDeflated) giveBack()
      },
    }
    made.push(environment)
    return environment
  }

  const environments: Environments = {
    async start(definition, initialization, signal) {
      const { memoryMiB } = definition.settings
      if (usedMiB + memoryMiB > (options.capacityMiB ?? Infinity)) throw new HostFull()
      usedMiB += memoryMiB
      try {
        const { initFailure } =
          (await unlessAborted(Promise.resolve(options.init?.(definition, initialization)), signal)) ?? {}
        return create(definition, initialization, initFailure)
      } catch (error) {
        usedMiB -= memoryMiB
        throw error
      }
    },
    idle: () => options.idle ?? [],
  }
  return {
    ...environments,
    options,
    made: made as readonly MemoryEnvironment[],
    live: () => made.filter(({ isOver }) => !isOver),
    /** One that is there already. */
    leave: (definition: Definition) => create(definition, "on-demand", undefined),
    onRoom(listener: () => void) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
  }
}

const refused = (error: Error): EnvironmentAnswer => ({
  head: Promise.reject(error),
  body: Readable.from([]),
  end: Promise.resolve(undefined),
  settled: Promise.resolve({ durationMs: 0, billedMs: 0, initMs: undefined, maxMemoryBytes: 0, tail: Buffer.alloc(0) }),
})

const echo: MemoryHandler = ({ payload }) => ({ body: payload })
