import { sql } from "drizzle-orm"
import type { PostgresJsDatabase } from "drizzle-orm/postgres-js"
import { unlessAborted } from "../abort.ts"

const TIMEOUT_MS = 2000

/** Returns a function that tells whether the database answers in time. Who asks meanwhile shares one query: anybody may ask. */
export const createAnswering = (db: Pick<PostgresJsDatabase, "execute">, timeoutMs = TIMEOUT_MS) => {
  let asking: Promise<boolean> | undefined
  const ask = async () => {
    try {
      await db.execute(sql`select 1`)
      return true
    } catch {
      return false
    } finally {
      asking = undefined
    }
  }
  return (): Promise<boolean> => {
    asking ??= ask()
    return unlessAborted(asking, AbortSignal.timeout(timeoutMs)).catch(() => false)
  }
}
