/** All that serves functions on this host, put together: environments, the invoker, and the queue before it. */
import type { Registry } from "prom-client"
import type { Ledger } from "../../src/capacity/ledger.ts"
import { openEnvironments, type EnvironmentsOptions, type OpenEnvironments } from "../environments/open-environments.ts"
import type { WarmPool } from "../environments/warm-pool.ts"
import type { SecretBox } from "../images/images.ts"
import { openEvents, type EventsOptions } from "./events/open-events.ts"
import type { AsyncIntake } from "./events/intake.ts"
import type { FunctionLimits } from "./ground.ts"
import { openInvoker, type InvokingLimits, type OpenInvoker } from "./invoking/open-invoker.ts"
import { registerInvokingMetrics, registerWarmMetrics } from "./invoking/metrics.ts"
import { openKeeping } from "./provisioned/keeping.ts"
import { createProvisions, type Provisions } from "./provisioned/provisions.ts"
import { openUsageCounts } from "./usage/usage-counts.ts"
import { createUsageReader, type UsageReader } from "./usage/usage-reader.ts"

export interface ServingOptions
  extends
    Pick<
      EnvironmentsOptions,
      | "db"
      | "host"
      | "places"
      | "emptyDrive"
      | "createOverlay"
      | "spares"
      | "bases"
      | "disks"
      | "work"
      | "snapshots"
      | "roles"
      | "starts"
    >,
    Pick<EventsOptions, "changes" | "destinations"> {
  readonly secrets: SecretBox
  /** Disposed of with what is opened here. */
  readonly pool: WarmPool
  readonly ledger: Ledger
  readonly metrics: Registry
  /** Whether events that wait are delivered, and environments are kept that are to be. */
  readonly resumes: boolean
  readonly limits: {
    readonly functions: FunctionLimits
    readonly environments: EnvironmentsOptions["limits"]
    readonly invoking: InvokingLimits
    readonly events: EventsOptions["limits"]
    readonly maxEventsInFlight: number
    readonly usageDays: number
  }
}

export interface Serving extends AsyncDisposable {
  readonly environments: OpenEnvironments
  readonly invoking: OpenInvoker
  readonly intake: AsyncIntake
  readonly provisions: Provisions
  readonly usage: UsageReader
  /** Nothing starts an environment any more, and none is left when it resolves. */
  endAll(reason: string): Promise<void>
}

/** How long what is in flight from the queue may take when the daemon closes. */
const GRACE_MS = 10_000

/** Opens it, after the sweep of this host; disposing leaves environments as they are. */
export const openServing = async (options: ServingOptions, signal: AbortSignal): Promise<Serving> => {
  const { db, host, pool, limits, ledger, metrics } = options
  const { hostId, log } = host
  await using opened = new AsyncDisposableStack()
  // Closed last: environments settle their last events while they are closed.
  const usage = opened.use(openUsageCounts({ db, days: limits.usageDays, log }))
  opened.use(pool)
  const environments = opened.use(await openEnvironments({ ...options, limits: limits.environments }, signal))
  /** What starts environments; over before they are. */
  const starters = opened.use(new AsyncDisposableStack())
  const onRoom = (listener: () => void) => ledger.onRelease(listener)
  const invoking = starters.use(
    await openInvoker({ ...options, environments, usage, limits: limits.invoking, onRoom, log }),
  )
  registerInvokingMetrics(metrics, invoking)
  registerWarmMetrics(metrics, pool)
  const keeping = starters.use(await openKeeping({ ...options, ...invoking, log }))
  const provisions = createProvisions({ ...options, limits: limits.functions }, keeping)
  const { intake, close } = await openEvents({
    ...options,
    hostId,
    log,
    invoker: invoking.invoker,
    limits: limits.events,
    maxInFlight: limits.maxEventsInFlight,
    metrics,
  })
  starters.defer(() => close(GRACE_MS))
  const held = opened.move()
  return {
    environments,
    invoking,
    intake,
    provisions,
    usage: createUsageReader(db, usage),
    async endAll(reason) {
      await starters.disposeAsync()
      await Promise.all([pool[Symbol.asyncDispose](), environments.endAll("host", reason)])
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}
