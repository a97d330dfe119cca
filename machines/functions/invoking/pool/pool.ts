/**
 * Environments, given to one event at a time, kept while nobody wants them, and started while there are too few.
 *
 *   take ── idle? ──────────────────────────────► event ── answered ─► release ─► waited for? ─► the earliest event
 *     └── else wait ◄── start ◄── room? ◄── the longest idle is deflated              └── idle
 *
 * An event that waits takes whatever of its definition is free first; what was started for it is idle then. Nothing is started for it
 * while one that has just answered is about to be free: a caller who waits for each answer before the next event has one environment.
 * Of the functions that wait, the one with the fewest environments is next, so that many events of one don't hold up another's first.
 * A function's first are started a few at a time, and more the more it has: all at once would be ready when the last is, and short events
 * are over by then in the first.
 */
import type { Log } from "../../../../src/log.ts"
import type { Cause } from "../../../../src/db/values.ts"
import { HostFull, type Environment, type Environments } from "../../../environments/environments.ts"
import { HostTooSmall } from "../../../environments/memory-classes.ts"
import type { Definition } from "../../definition.ts"
import { unavailable } from "../refusals.ts"
import { createCounts } from "./counts.ts"
import { createIdleEnvironments, isKept } from "./idle-environments.ts"
import { createWaiting, type Waiter, type WaitingLimits } from "./waiting.ts"

export interface PoolOptions {
  readonly environments: Environments
  /** How many are started at once. */
  readonly startsAtOnce: number
  /** The same for the events of a function that has no more environments than this; one that has more doubles them. */
  readonly firstStartsAtOnce: number
  readonly waiting: WaitingLimits
  /** Throws when no environment of this definition may be started now. */
  readonly admit: (definition: Definition) => void
  /** Calls back when memory of this host was given back by anybody; answers what stops it. */
  readonly onRoom: (listener: () => void) => () => void
  readonly log: Log
}

/** An environment that was given to one event. */
export interface Lease {
  readonly environment: Environment
  /** The event's answer is whole: it is settled soon, where nothing else is done after it. */
  answered(): void
  /** To be called once, when the event is settled. */
  release(): void
}

export interface PoolUse {
  readonly idle: number
  readonly busy: number
  readonly starting: number
  readonly waiting: number
}

export interface Pool extends AsyncDisposable {
  /** An environment of a definition; `bytes` are held by the event meanwhile. Whoever leaves by `signal` gives up its place. */
  take(definition: Definition, bytes: number, signal: AbortSignal): Promise<Lease>
  /** Starts one in advance, when no event waits for another; resolves when it is initialised. */
  prepare(definition: Definition, signal: AbortSignal): Promise<Environment>
  /** How many of a definition are being started in advance; none that waits for its turn or for room. */
  preparing(definitionId: string): number
  /** Ends it, when its event is over if it is at one. */
  dismiss(environment: Environment, cause: Cause, reason: string): void
  /** Ends all of a definition alike, those too that are being started. */
  retire(definitionId: string, cause: Cause, reason: string): void
  /** Those that are kept initialised, of a function or of all; none that is on its way out. */
  kept(functionId?: string): Environment[]
  /** Of which definitions of a function there are any, or are being started. */
  definitionsOf(functionId: string): Set<string>
  readonly use: PoolUse
}

/** How often a VM may fail before its event is told. */
const MAX_FAILURES = 2
/** How long an event waits for what has answered another, before an environment is started for it: about as long as a start takes. */
const SETTLING_MS = 250

interface Dismissal {
  readonly cause: Cause
  readonly reason: string
}

interface Preparation {
  readonly definition: Definition
  readonly started: PromiseWithResolvers<Environment>
}

/** Opens a pool with what an earlier daemon left idle. Disposing refuses those who wait and gives up what is being started. */
export const openPool = ({
  environments,
  startsAtOnce,
  firstStartsAtOnce,
  admit,
  onRoom,
  log,
  ...options
}: PoolOptions): Pool => {
  const idle = createIdleEnvironments()
  const waiting = createWaiting(options.waiting)
  const preparations = new Set<Preparation>()
  const all = new Map<string, Set<Environment>>()
  const dismissed = new Map<Environment, Dismissal>()
  const busy = new Set<Environment>()
  /** Environments of a function that are there or are being started; starts of a definition for events, and in advance. */
  const [held, starting, preparing] = [createCounts(), createCounts(), createCounts()]
  /** Those of a definition that have answered, and are about to be free. */
  const settling = createCounts()
  const starts = new Map<Promise<void>, Definition>()
  /** Why what is being started of a definition is not wanted any more. */
  const retired = new Map<string, Dismissal>()
  const closing = new AbortController()
  /** The smallest memory that there was no room for since the last time any was given back. */
  let fullMiB = Infinity

  const fits = ({ settings }: Definition) => settings.memoryMiB < fullMiB

  /** How many events of a definition need no other start. */
  const coming = (id: string) => starting.of(id) + settling.of(id)

  const mayStart = ({ id, functionId }: Definition) =>
    starting.of(id) < Math.max(firstStartsAtOnce, all.get(functionId)?.size ?? 0)

  /** The function's earliest event that nothing is on its way for, and something may be. */
  const unserved = (line: ReadonlySet<Waiter>): Waiter | undefined => {
    const seen = createCounts()
    for (const waiter of line) {
      const { definition } = waiter
      if (seen.add(definition.id) > coming(definition.id) && mayStart(definition)) return waiter
    }
    return undefined
  }

  const waitersOf = ({ id, functionId }: Definition): number => {
    let count = 0
    for (const { definition } of waiting.lines.get(functionId) ?? []) if (definition.id === id) count++
    return count
  }

  const nextWaiter = (accepts: (definition: Definition) => boolean): Waiter | undefined => {
    let best: { waiter: Waiter; held: number } | undefined
    for (const [functionId, line] of waiting.lines) {
      const waiter = unserved(line)
      if (waiter === undefined || !accepts(waiter.definition)) continue
      const has = held.of(functionId)
      if (best === undefined || has < best.held || (has === best.held && waiter.order < best.waiter.order))
        best = { waiter, held: has }
    }
    return best?.waiter
  }

  const pump = () => {
    while (starts.size < startsAtOnce && !closing.signal.aborted) {
      const waiter = nextWaiter(fits)
      const preparation =
        waiter === undefined ? preparations.values().find(({ definition }) => fits(definition)) : undefined
      if (waiter !== undefined) start(waiter.definition)
      else if (preparation !== undefined) start(preparation.definition, preparation)
      else return
    }
  }

  const start = (definition: Definition, preparation?: Preparation) => {
    const { id, functionId } = definition
    held.add(functionId)
    const counts = preparation === undefined ? starting : preparing
    counts.add(id)
    if (preparation !== undefined) preparations.delete(preparation)
    const begun = () => {
      starts.delete(work)
      held.take(functionId)
      counts.take(id)
      if (!starts.values().some((other) => other.id === id)) retired.delete(id)
    }
    const work = environments
      .start(definition, preparation === undefined ? "on-demand" : "provisioned-concurrency", closing.signal)
      .then(
        (environment) => {
          const dismissal = retired.get(id)
          begun()
          watch(environment)
          if (dismissal !== undefined) dismissed.set(environment, dismissal)
          preparation?.started.resolve(environment)
          offer(environment)
        },
        (error: unknown) => {
          begun()
          if (error instanceof HostFull) noRoom(definition, preparation)
          else failed(definition, preparation, error)
        },
      )
      .finally(pump)
    starts.set(work, definition)
  }

  const failed = (definition: Definition, preparation: Preparation | undefined, error: unknown) => {
    if (closing.signal.aborted) return preparation?.started.reject(closing.signal.reason)
    log.error({ err: error, function: definition.name, version: definition.version }, "An environment did not start")
    if (preparation !== undefined) return preparation.started.reject(error)
    const waiter = waiting.first(definition.functionId, definition.id)
    if (waiter === undefined) return
    if (error instanceof HostTooSmall) waiter.refuse(unavailable(error.message))
    else if (++waiter.failures >= MAX_FAILURES)
      waiter.refuse(unavailable("The function's execution environment could not be started."))
  }

  const noRoom = (definition: Definition, preparation: Preparation | undefined) => {
    if (preparation !== undefined) preparations.add(preparation)
    fullMiB = Math.min(fullMiB, definition.settings.memoryMiB)
    idle.longest()?.deflate()
  }

  const room = () => {
    fullMiB = Infinity
    pump()
  }

  const isRoomWanted = () =>
    fullMiB !== Infinity &&
    (nextWaiter((definition) => !fits(definition)) !== undefined ||
      preparations.values().some(({ definition }) => !fits(definition)))

  /** Somebody has waited longer, has no environment at all for want of room, and this one's would do. */
  const isOwed = (environment: Environment, own: Waiter): boolean => {
    if (fullMiB === Infinity) return false
    const other = nextWaiter(
      (definition) =>
        !fits(definition) &&
        held.of(definition.functionId) === 0 &&
        definition.settings.memoryMiB <= environment.memoryMiB,
    )
    return other !== undefined && other.order < own.order
  }

  const watch = (environment: Environment) => {
    const { functionId } = environment
    const those = all.get(functionId) ?? new Set()
    all.set(functionId, those.add(environment))
    held.add(functionId)
    void environment.over.then(() => {
      those.delete(environment)
      if (those.size === 0) all.delete(functionId)
      held.take(functionId)
      idle.delete(environment)
      dismissed.delete(environment)
      room()
    })
  }

  const end = (environment: Environment, cause: Cause, reason: string) => {
    idle.delete(environment)
    environment.end(cause, reason)
  }

  /** It is free: for whoever waits for one like it, or for later. */
  const offer = (environment: Environment) => {
    if (environment.isOver) return
    const dismissal = dismissed.get(environment)
    const waiter = waiting.first(environment.functionId, environment.definitionId)
    const mayGo = !isKept(environment)
    if (waiter !== undefined && mayGo && isOwed(environment, waiter))
      end(environment, "memory", "Its memory was needed for another function")
    else if (waiter !== undefined) {
      busy.add(environment)
      waiter.give(environment)
    } else if (dismissal !== undefined) end(environment, dismissal.cause, dismissal.reason)
    else {
      idle.add(environment)
      if (mayGo && isRoomWanted()) environment.deflate()
    }
  }

  const dismiss = (environment: Environment, cause: Cause, reason: string) => {
    if (busy.has(environment)) dismissed.set(environment, { cause, reason })
    else end(environment, cause, reason)
  }

  const lease = (environment: Environment): Lease => {
    const { definitionId } = environment
    let settled: NodeJS.Timeout | undefined
    const stopSettling = () => {
      if (settled === undefined) return
      clearTimeout(settled)
      settled = undefined
      settling.take(definitionId)
    }
    return {
      environment,
      answered() {
        settling.add(definitionId)
        settled = setTimeout(() => {
          stopSettling()
          pump()
        }, SETTLING_MS)
      },
      release() {
        stopSettling()
        busy.delete(environment)
        offer(environment)
        pump()
      },
    }
  }

  for (const environment of environments.idle()) {
    watch(environment)
    offer(environment)
  }
  const unlisten = onRoom(room)

  return {
    async take(definition, bytes, signal) {
      closing.signal.throwIfAborted()
      retired.delete(definition.id)
      const found = idle.take(definition.id)
      if (found !== undefined) {
        busy.add(found)
        return lease(found)
      }
      if (waitersOf(definition) >= coming(definition.id)) admit(definition)
      const given = waiting.wait(definition, bytes, signal)
      pump()
      const taken = lease(await given)
      if (!signal.aborted) return taken
      taken.release()
      throw signal.reason
    },
    prepare(definition, signal) {
      signal.throwIfAborted()
      const preparation = { definition, started: Promise.withResolvers<Environment>() }
      const onAbort = () => {
        if (preparations.delete(preparation)) preparation.started.reject(signal.reason)
      }
      signal.addEventListener("abort", onAbort, { once: true })
      preparations.add(preparation)
      pump()
      return preparation.started.promise.finally(() => signal.removeEventListener("abort", onAbort))
    },
    preparing: (definitionId) => preparing.of(definitionId),
    dismiss,
    retire(definitionId, cause, reason) {
      for (const those of all.values())
        for (const environment of those)
          if (environment.definitionId === definitionId) dismiss(environment, cause, reason)
      if (starts.values().some(({ id }) => id === definitionId)) retired.set(definitionId, { cause, reason })
    },
    kept: (functionId) =>
      (functionId === undefined ? [...all.values()] : [all.get(functionId) ?? []])
        .flatMap((those) => [...those])
        .filter((environment) => isKept(environment) && !environment.isOver && !dismissed.has(environment)),
    definitionsOf: (functionId) =>
      new Set([
        ...[...(all.get(functionId) ?? [])].map(({ definitionId }) => definitionId),
        ...[...starts.values()].filter((definition) => definition.functionId === functionId).map(({ id }) => id),
      ]),
    get use() {
      return { idle: idle.size, busy: busy.size, starting: starts.size, waiting: waiting.count }
    },
    async [Symbol.asyncDispose]() {
      unlisten()
      closing.abort(unavailable("The service is closing."))
      waiting.refuseAll(closing.signal.reason)
      for (const { started } of preparations) started.reject(closing.signal.reason)
      preparations.clear()
      while (starts.size > 0) await Promise.all(starts.keys())
    },
  }
}
