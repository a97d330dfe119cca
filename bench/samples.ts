export interface Summary {
  readonly unit: "ms"
  readonly n: number
  readonly p50: number
  readonly p95: number
  readonly p99: number
}

/** Percentiles by the nearest rank, to a tenth of a millisecond. */
export const summarise = (samplesMs: readonly number[]): Summary => {
  const sorted = samplesMs.toSorted((a, b) => a - b)
  const at = (share: number) =>
    Math.round((sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN) * 10) / 10
  return { unit: "ms", n: sorted.length, p50: at(0.5), p95: at(0.95), p99: at(0.99) }
}

/** How long a piece of work took, in ms. */
export const timed = async (work: () => Promise<unknown>): Promise<number> => {
  const startedAt = performance.now()
  await work()
  return performance.now() - startedAt
}
