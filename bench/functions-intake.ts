/** How many asynchronous events a second are accepted: stored by a Postgres that syncs before it answers. */
import { randomBytes, randomUUID } from "node:crypto"
import { sql } from "drizzle-orm"
import { pino } from "pino"
import { Registry } from "prom-client"
import { createFunctionChanges } from "../machines/functions/changes.ts"
import { openEvents } from "../machines/functions/events/open-events.ts"
import { functionEvents } from "../src/db/functions.ts"
import { ServiceError } from "../src/errors.ts"
import { registerHost } from "../src/db/identity.ts"
import { openTestDatabase, type TestDatabase } from "../test/db/database.ts"
import { insertFunction, scope } from "../test/machines/functions/events/function-rows.ts"
import type { Bench } from "./bench.ts"

const [ROUNDS, EVENTS, CALLERS] = [10, 2000, 64]
const PAYLOAD_BYTES = 1024
const RELOAD_MS = 10_000
const GiB = 1024 ** 3

export const functionsIntake: Bench = {
  summary: "asynchronous events of 1 KiB accepted a second, each on disk before its caller is answered",
  claims: [{ of: "events accepted", least: 500 }],
  notes: [
    `Events are taken in by ${CALLERS} callers at once, each of which waits for its answer; Postgres syncs (fsync on).`,
  ],
  async run({ progress, opened }) {
    const { db, hostId } = opened.use(await openTestDatabase())
    await registerHost(db, hostId, "bench")
    await insertFunction(db, hostId, "bench")
    await syncFromNowOn(db)
    // Nobody takes them: what is measured is the intake alone.
    const throttle = () => Promise.reject(new ServiceError("TooManyRequestsException", 429, "Rate Exceeded."))
    const events = await openEvents({
      resumes: true,
      db,
      hostId,
      changes: createFunctionChanges(),
      log: pino({ level: "silent" }),
      invoker: { invoke: throttle, check: throttle },
      destinations: { webhooks: {} },
      limits: { eventsPerFunction: 1e6, bytesPerFunction: 10 * GiB, events: 1e6, bytes: 10 * GiB },
      maxInFlight: 2,
      metrics: new Registry(),
    })
    opened.defer(() => events.close(0))
    const target = { name: "bench", qualifier: undefined }
    const payload = Buffer.from(JSON.stringify(randomBytes(PAYLOAD_BYTES / 2).toString("hex")))
    const accept = async () => {
      const startedAt = performance.now()
      await events.intake.accept({ requestId: randomUUID(), target, scope, payload })
      return performance.now() - startedAt
    }
    const [rates, waits]: [number[], number[]] = [[], []]
    for (let round = 0; round <= ROUNDS; round++) {
      const startedAt = performance.now()
      let left = EVENTS
      const caller = async () => {
        while (left-- > 0) {
          const ms = await accept()
          if (round > 0) waits.push(ms)
        }
      }
      await Promise.all(Array.from({ length: CALLERS }, caller))
      const rate = EVENTS / ((performance.now() - startedAt) / 1000)
      // The first round warms up.
      if (round > 0) rates.push(rate)
      progress(`functions-intake: round ${round} of ${ROUNDS}: ${Math.round(rate)} events/s`)
    }
    const [stored] = await db
      .select({ count: sql<number>`count(distinct ${functionEvents.requestId})::int` })
      .from(functionEvents)
    if (stored?.count !== EVENTS * (ROUNDS + 1))
      throw new Error(`${stored?.count} events are stored, which are too few`)
    return {
      "events accepted": { unit: "events/s", values: rates },
      "an event's acceptance": { unit: "ms", values: waits },
    }
  },
}

/** A database of tests doesn't, which would be most of what is measured here. This one does when this resolves. */
const syncFromNowOn = async (db: TestDatabase["db"]): Promise<void> => {
  for (const name of ["fsync", "full_page_writes"]) await db.execute(sql.raw(`alter system set ${name} = on`))
  await db.execute(sql`select pg_reload_conf()`)
  const signal = AbortSignal.timeout(RELOAD_MS)
  for (;;) {
    const [now] = await db.execute(
      sql`select current_setting('fsync') as fsync, current_setting('synchronous_commit') as commit`,
    )
    if (now?.["fsync"] === "on" && now["commit"] === "on") return
    signal.throwIfAborted()
  }
}
