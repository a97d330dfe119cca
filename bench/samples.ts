export type Unit = "ms" | "µs" | "MiB" | "MiB/s" | "requests/s" | "events/s" | "percent of a core"

export interface Summary {
  readonly unit: Unit
  readonly n: number
  readonly p50: number
  readonly p95: number
  readonly p99: number
}

/** What a bench found, by name; each is a list of samples of one unit. */
export type Samples = Readonly<Record<string, { readonly unit: Unit; readonly values: readonly number[] }>>

/** Percentiles by the nearest rank, to a hundredth. */
export const summarise = ({ unit, values }: Samples[string]): Summary => {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (share: number) =>
    Math.round((sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN) * 100) / 100
  return { unit, n: sorted.length, p50: at(0.5), p95: at(0.95), p99: at(0.99) }
}

/** How long a piece of work took, in ms. */
export const timed = async (work: () => Promise<unknown>): Promise<number> => {
  const startedAt = performance.now()
  await work()
  return performance.now() - startedAt
}
