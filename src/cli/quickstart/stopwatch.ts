/** Does a piece of work and prints how long it took. */
export const createStopwatch =
  (print: (line: string) => void) =>
  async <Result>(what: string, work: () => Promise<Result>): Promise<Result> => {
    const startedAt = performance.now()
    const result = await work()
    const tookMs = performance.now() - startedAt
    print(`  ${what.padEnd(58)} ${tookMs < 2000 ? `${tookMs.toFixed(0)} ms` : `${(tookMs / 1000).toFixed(1)} s`}`)
    return result
  }
