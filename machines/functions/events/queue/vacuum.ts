import { sql } from "drizzle-orm"
import { messageOf } from "../../../../src/errors.ts"
import type { Log } from "../../../../src/log.ts"
import type { Database } from "../../../vm-row.ts"
import type { Use } from "./room.ts"

/** After so much has left: Postgres looks by itself every ten minutes alone, in which a flood would leave tens of gigabytes behind. */
const ENOUGH: Use = { events: 50_000, bytes: 256 * 1024 ** 2 }

/** Returns a function to be told what has left the queue: when that is enough, its space is freed for what comes. */
export const createVacuum = (db: Database, log: Log): ((left: Use) => void) => {
  let events = 0
  let bytes = 0
  let isAtWork = false

  const run = async () => {
    isAtWork = true
    try {
      await db.execute(sql`vacuum function_events`)
    } catch (error) {
      log.warn({ error: messageOf(error) }, "The space of events that have left is not given back yet")
    }
    isAtWork = false
  }

  return (left) => {
    events += left.events
    bytes += left.bytes
    if (isAtWork || (events < ENOUGH.events && bytes < ENOUGH.bytes)) return
    events = 0
    bytes = 0
    void run()
  }
}
