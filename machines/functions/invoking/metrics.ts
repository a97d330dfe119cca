import { Gauge, type Registry } from "prom-client"
import type { WarmPool } from "../../environments/warm-pool.ts"
import type { OpenInvoker } from "./open-invoker.ts"

/** Registers what the invoker is at, for Prometheus. Functions are no labels: there may be any number of them. */
export const registerInvokingMetrics = (registry: Registry, { pool, concurrency }: OpenInvoker): void => {
  registry.registerMetric(
    new Gauge({
      name: "torpor_function_environments",
      help: "Execution environments by what they are at.",
      labelNames: ["state"],
      registers: [],
      collect() {
        const { idle, busy, starting } = pool.use
        this.set({ state: "idle" }, idle)
        this.set({ state: "busy" }, busy)
        this.set({ state: "starting" }, starting)
      },
    }),
  )
  registry.registerMetric(
    new Gauge({
      name: "torpor_function_events_waiting",
      help: "Events that wait for an execution environment.",
      registers: [],
      collect() {
        this.set(pool.use.waiting)
      },
    }),
  )
  registry.registerMetric(
    new Gauge({
      name: "torpor_function_concurrency",
      help: "Events of functions that wait or are at work.",
      registers: [],
      collect() {
        this.set(concurrency.count)
      },
    }),
  )
}

/** Registers how many VMs stand loaded, for Prometheus. */
export const registerWarmMetrics = (registry: Registry, pool: Pick<WarmPool, "count">): void =>
  registry.registerMetric(
    new Gauge({
      name: "torpor_function_warm_vms",
      help: "Virtual machines that stand loaded, and wait for a function of their runtime.",
      registers: [],
      collect() {
        this.set(pool.count)
      },
    }),
  )
