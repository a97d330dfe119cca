/** Events that wait for an environment. */
import type { Environment } from "../../../environments/environments.ts"
import type { Definition } from "../../definition.ts"
import { unavailable } from "../refusals.ts"

export interface WaitingLimits {
  /** Of all functions together. */
  readonly count: number
  /** Of their payloads. */
  readonly bytes: number
  readonly waitMs: number
}

export interface Waiter {
  readonly definition: Definition
  /** The lower came earlier. */
  readonly order: number
  /** How often a start for it has failed. */
  failures: number
  give(environment: Environment): void
  refuse(error: unknown): void
}

export interface Waiting {
  /** Resolves with what it is given; rejects when `signal` is aborted or it has waited too long. Throws when too many wait. */
  wait(definition: Definition, bytes: number, signal: AbortSignal): Promise<Environment>
  /** Those of each function, the earliest first. */
  readonly lines: ReadonlyMap<string, ReadonlySet<Waiter>>
  /** The earliest of a definition. */
  first(functionId: string, definitionId: string): Waiter | undefined
  refuseAll(error: unknown): void
  readonly count: number
}

export const createWaiting = (limits: WaitingLimits): Waiting => {
  const lines = new Map<string, Set<Waiter>>()
  let [orders, count, held] = [0, 0, 0]

  const wait = (definition: Definition, bytes: number, signal: AbortSignal): Promise<Environment> => {
    signal.throwIfAborted()
    if (count >= limits.count || held + bytes > limits.bytes)
      throw unavailable("Too many invocations wait for an execution environment on this host.")
    const { functionId } = definition
    const given = Promise.withResolvers<Environment>()
    const leave = () => {
      const line = lines.get(functionId)
      if (line?.delete(waiter) !== true) return
      if (line.size === 0) lines.delete(functionId)
      count -= 1
      held -= bytes
      clearTimeout(timer)
      signal.removeEventListener("abort", onAbort)
    }
    const waiter: Waiter = {
      definition,
      order: orders++,
      failures: 0,
      give(environment) {
        leave()
        given.resolve(environment)
      },
      refuse(error) {
        leave()
        given.reject(error)
      },
    }
    const onAbort = () => waiter.refuse(signal.reason)
    const timer = setTimeout(
      () => waiter.refuse(unavailable("This host has had no room for another execution environment in time.")),
      limits.waitMs,
    )
    signal.addEventListener("abort", onAbort, { once: true })
    count += 1
    held += bytes
    const line = lines.get(functionId)
    if (line === undefined) lines.set(functionId, new Set([waiter]))
    else line.add(waiter)
    return given.promise
  }

  return {
    wait,
    lines,
    first: (functionId, definitionId) =>
      lines
        .get(functionId)
        ?.values()
        .find(({ definition }) => definition.id === definitionId),
    refuseAll(error) {
      for (const line of lines.values()) for (const waiter of line) waiter.refuse(error)
    },
    get count() {
      return count
    },
  }
}
