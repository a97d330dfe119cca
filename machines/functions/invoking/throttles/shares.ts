/** What functions have of their account's concurrency for themselves. */
import { eq, sql } from "drizzle-orm"
import { LRUCache } from "lru-cache"
import { functions, functionProvisions } from "../../../../src/db/functions.ts"
import type { Scope } from "../../../resources.ts"
import type { Database } from "../../../vm-row.ts"
import type { FunctionChanges } from "../../changes.ts"

export interface Shares {
  /** Of all functions together. */
  readonly reserved: number
  /** What is kept initialised, by function id; that of functions with a reserved share is a part of it. */
  readonly provisioned: ReadonlyMap<string, number>
}

/** Another daemon's change of the same database is seen after this time at most; this one's own at once. */
const STALE_MS = 10_000
const MAX_ACCOUNTS = 1000

/** Shares by account, in all regions, read when they have changed. */
export const createShares = (db: Database, changes: Pick<FunctionChanges, "listen">) => {
  const load = async (account: string): Promise<Shares> => {
    const ofAccount = eq(functions.account, account)
    const [[sum], rows] = await Promise.all([
      db
        .select({ reserved: sql<number>`coalesce(sum(${functions.reservedConcurrency}), 0)::int` })
        .from(functions)
        .where(ofAccount),
      db
        .select({ id: functions.id, count: sql<number>`sum(${functionProvisions.requested})::int` })
        .from(functionProvisions)
        .innerJoin(functions, eq(functions.id, functionProvisions.functionId))
        .where(ofAccount)
        .groupBy(functions.id),
    ])
    return { reserved: sum?.reserved ?? 0, provisioned: new Map(rows.map(({ id, count }) => [id, count])) }
  }
  // A promise: who comes while they are read waits for the same.
  const read = new LRUCache<string, Promise<Shares>>({ max: MAX_ACCOUNTS, ttl: STALE_MS })
  const unlisten = changes.listen(() => read.clear())

  return {
    of({ account }: Pick<Scope, "account">): Promise<Shares> {
      const found = read.get(account)
      if (found !== undefined) return found
      const loading = load(account)
      read.set(account, loading)
      loading.catch(() => {
        if (read.peek(account) === loading) read.delete(account)
      })
      return loading
    },
    [Symbol.dispose]: unlisten,
  }
}
