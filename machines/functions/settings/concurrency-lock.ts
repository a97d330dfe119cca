import { sql } from "drizzle-orm"
import type { Scope } from "../../resources.ts"
import type { Database } from "../../vm-row.ts"

/** Until the transaction's end nobody else of this account shares its concurrency out. */
export const lockConcurrency = async (tx: Database, { account }: Pick<Scope, "account">): Promise<void> => {
  await tx.execute(sql`select pg_advisory_xact_lock(hashtext(${`function-concurrency ${account}`}))`)
}
