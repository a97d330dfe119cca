/** Invoking, put together: which version, whether it may, and where. */
import { randomBytes } from "node:crypto"
import { ServiceError } from "../../../src/errors.ts"
import type { Log } from "../../../src/log.ts"
import type { EnvironmentAnswer, EnvironmentEvent, Environments } from "../../environments/environments.ts"
import type { SecretBox } from "../../images/images.ts"
import type { Database } from "../../vm-row.ts"
import type { FunctionChanges } from "../changes.ts"
import type { Definition } from "../definition.ts"
import { afterRound, loopOf, withLineage } from "../lineage.ts"
import { functionArn } from "../names.ts"
import type { UsageCounts } from "../usage/usage-counts.ts"
import { createDefinitionCache, type DefinitionCache } from "./definition-cache.ts"
import type { Invoked, Invoker, InvokeRequest } from "./invoker.ts"
import { openPool, type Lease, type Pool } from "./pool/pool.ts"
import type { WaitingLimits } from "./pool/waiting.ts"
import { loopStopped, throttled, unavailable } from "./refusals.ts"
import { createResolution, type Resolved } from "./resolution.ts"
import { retire } from "./retirement.ts"
import { createConcurrency, type Concurrency } from "./throttles/concurrency.ts"
import { createRates } from "./throttles/rates.ts"
import { createShares } from "./throttles/shares.ts"

export interface InvokingLimits {
  /** Of each account. */
  readonly concurrentExecutions: number
  /** Of environments of one function that are started in ten seconds. */
  readonly startsPerTenSeconds: number
  readonly startsAtOnce: number
  readonly firstStartsAtOnce: number
  readonly waiting: WaitingLimits
}

export interface InvokerOptions {
  readonly db: Database
  readonly secrets: SecretBox
  readonly environments: Environments
  readonly changes: FunctionChanges
  readonly usage: UsageCounts
  readonly limits: InvokingLimits
  /** See `PoolOptions`. */
  readonly onRoom: (listener: () => void) => () => void
  readonly log: Log
}

export interface OpenInvoker extends AsyncDisposable {
  readonly invoker: Invoker
  readonly pool: Pool
  readonly definitions: DefinitionCache
  /** Of events that wait or are at work. */
  readonly concurrency: Pick<Concurrency, "count">
}

/** AWS allows as many requests in a second as ten times the concurrency. */
const REQUESTS_PER_EXECUTION = 10
/** How many environments may turn out not to take an event. */
const MAX_ATTEMPTS = 3

/** Opens the invoker with the environments that an earlier daemon left. Disposing refuses events that wait; those at work go on. */
export const openInvoker = async (options: InvokerOptions): Promise<OpenInvoker> => {
  const { db, secrets, environments, changes, usage, limits, onRoom, log } = options
  await using opened = new AsyncDisposableStack()
  const rates = createRates()
  const starts = createRates()
  const concurrency = createConcurrency(limits.concurrentExecutions)
  const shares = opened.use(createShares(db, changes))
  const pool = opened.use(
    openPool({
      environments,
      startsAtOnce: limits.startsAtOnce,
      firstStartsAtOnce: limits.firstStartsAtOnce,
      waiting: limits.waiting,
      admit({ functionId }) {
        const seconds = starts.take(functionId, limits.startsPerTenSeconds / 10, limits.startsPerTenSeconds)
        if (seconds > 0) throw throttled("ConcurrentInvocationLimitExceeded", Math.ceil(seconds))
      },
      onRoom,
      log,
    }),
  )
  const outdated = (functionId: string) => {
    retire(db, definitions, pool, functionId).catch((error: unknown) =>
      log.error({ err: error, functionId }, "Environments of what a function was could not be ended"),
    )
  }
  const definitions = createDefinitionCache(db, secrets, outdated)
  const resolve = createResolution(db, definitions)
  opened.defer(changes.listen(outdated))
  for (const functionId of new Set(environments.idle().map((environment) => environment.functionId)))
    outdated(functionId)

  const checkRate = ({ definition: { scope, functionId }, reserved }: Resolved) => {
    const name = reserved === null ? scope.account : functionId
    const perSecond = (reserved ?? limits.concurrentExecutions) * REQUESTS_PER_EXECUTION
    // A share of zero is refused under its own name.
    const seconds = perSecond === 0 ? 0 : rates.take(name, perSecond, perSecond)
    if (seconds === 0) return
    throw throttled(
      reserved === null ? "FunctionInvocationRateLimitExceeded" : "ReservedFunctionInvocationRateLimitExceeded",
      Math.ceil(seconds),
    )
  }

  const account = (definition: Definition, answer: EnvironmentAnswer) => {
    const { functionId, version, settings } = definition
    const failed = answer.end.then(
      (failure) => failure !== undefined,
      () => true,
    )
    void answer.settled.then(async ({ durationMs, billedMs }) =>
      usage.add(functionId, version, {
        invocations: 1,
        errors: (await failed) ? 1 : 0,
        durationMs,
        gbSeconds: (settings.memoryMiB / 1024) * (billedMs / 1000),
      }),
    )
  }

  /** Gives the event to one environment; `undefined` when that didn't take it. */
  const give = async (lease: Lease, event: EnvironmentEvent, definition: Definition): Promise<Given | undefined> => {
    const { environment } = lease
    const answer = environment.invoke(event)
    // Before what waits for the end on behalf of a caller, whose next event may be there at once.
    answer.end.then(
      () => lease.answered(),
      () => {},
    )
    const free = answer.settled.then(() => lease.release())
    try {
      const head = await answer.head
      account(definition, answer)
      return { answer, head, free }
    } catch (error) {
      log.warn({ err: error, environment: environment.id, function: definition.name }, "An event was not taken")
      answer.end.catch(() => {})
      answer.body.on("error", () => {}).destroy()
      // Whatever is wrong with it, the next event shall not find out.
      pool.dismiss(environment, "host", "It did not take an event")
      return undefined
    }
  }

  const invoke = async (request: InvokeRequest, signal: AbortSignal): Promise<Invoked> => {
    const [resolved, accountShares] = await Promise.all([
      resolve(request.target, request.scope, Math.random()),
      shares.of(request.scope),
    ])
    const { definition, reserved, stopsLoops } = resolved
    const { functionId, version } = definition
    if (stopsLoops && loopOf(request.lineage ?? {}, functionId) !== "none") throw loopStopped()
    try {
      const asked = { scope: definition.scope, functionId, reserved, shares: accountShares }
      const permit = await concurrency.enter(asked, signal)
      try {
        checkRate(resolved)
        const { answer, head, free } = await place(request, definition, signal)
        answer.end.then(permit.answered, () => {})
        void free.then(permit.leave)
        return {
          executedVersion: version,
          contentType: head?.contentType ?? "application/json",
          isStreamed: head?.isStreamed ?? false,
          body: answer.body,
          end: answer.end,
          settled: answer.settled,
        }
      } catch (error) {
        permit.leave()
        throw error
      }
    } catch (error) {
      if (error instanceof ServiceError && error.status === 429) usage.add(functionId, version, { throttles: 1 })
      throw error
    }
  }

  const place = async (request: InvokeRequest, definition: Definition, signal: AbortSignal): Promise<Given> => {
    const event = toEvent(request, definition)
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
      const lease = await pool.take(definition, request.payload.length, signal)
      const given = await give(lease, event, definition)
      if (given !== undefined) return given
    }
    throw unavailable("No execution environment has taken the event.")
  }

  const held = opened.move()
  return {
    invoker: {
      invoke,
      async check(target, scope) {
        await resolve(target, scope, 0)
      },
    },
    pool,
    definitions,
    concurrency,
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}

interface Given {
  readonly answer: EnvironmentAnswer
  readonly head: Awaited<EnvironmentAnswer["head"]>
  /** Resolves when its environment is free again. */
  readonly free: Promise<void>
}

const toEvent = (
  { requestId, target, scope, payload, mode, clientContext, traceId, lineage = {} }: InvokeRequest,
  { settings, functionId }: Definition,
): EnvironmentEvent => ({
  spec: {
    requestId,
    functionArn: functionArn(scope, target.name, target.qualifier),
    mode,
    traceId: withLineage(traceId ?? newTraceId(), afterRound(lineage, functionId)),
    ...(clientContext === undefined ? {} : { clientContext }),
  },
  payload,
  timeoutMs: settings.timeoutSeconds * 1000,
})

/** As X-Ray names what nobody traces. */
const newTraceId = (): string => {
  const seconds = Math.floor(Date.now() / 1000).toString(16)
  return `Root=1-${seconds}-${randomBytes(12).toString("hex")};Parent=${randomBytes(8).toString("hex")};Sampled=0`
}
