/** One piece of work for everything that has come while the last was done: what is asked for at once is committed at once. */
export interface Batches<Item, Result> {
  add(item: Item): Promise<Result>
}

export interface BatchOptions<Item, Result> {
  /** A result for each item, in their order; what it throws is thrown to all of them. */
  work(items: readonly Item[]): Promise<readonly Result[]>
  /** Of one piece of work; a single item is never too large. */
  readonly mostItems: number
  readonly mostBytes: number
  bytesOf(item: Item): number
}

interface Waiting<Item, Result> {
  readonly item: Item
  readonly answer: PromiseWithResolvers<Result>
}

/** Begins with the first item at once, and is at one piece of work at a time. */
export const createBatches = <Item, Result>(options: BatchOptions<Item, Result>): Batches<Item, Result> => {
  const { work, mostItems, mostBytes, bytesOf } = options
  let waiting: Waiting<Item, Result>[] = []
  let isAtWork = false

  const cut = (): Waiting<Item, Result>[] => {
    let bytes = 0
    const end = waiting.findIndex(({ item }, index) => {
      bytes += bytesOf(item)
      return index > 0 && (index >= mostItems || bytes > mostBytes)
    })
    const batch = end < 0 ? waiting : waiting.slice(0, end)
    waiting = end < 0 ? [] : waiting.slice(end)
    return batch
  }

  const run = async () => {
    isAtWork = true
    // What is asked for in this turn of the event loop goes together.
    await new Promise<void>((resolve) => setImmediate(resolve))
    while (waiting.length > 0) {
      const batch = cut()
      try {
        const results = await work(batch.map(({ item }) => item))
        for (const [index, { answer }] of batch.entries()) answer.resolve(results[index] as Result)
      } catch (error) {
        for (const { answer } of batch) answer.reject(error)
      }
    }
    isAtWork = false
  }

  return {
    add(item) {
      const answer = Promise.withResolvers<Result>()
      waiting.push({ item, answer })
      if (!isAtWork) void run()
      return answer.promise
    },
  }
}
