/** A process that takes events in and delivers them, and writes down which, until it is killed. Arguments: data directory, host id, function, file. */
import "../../../../src/resolve-drizzle.ts"
import { randomUUID } from "node:crypto"
import { appendFileSync } from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"

const { pino } = await import("pino")
const { Registry } = await import("prom-client")
const { openDatabase } = await import("../../../../src/db/open.ts")
const { createFunctionChanges } = await import("../../../../machines/functions/changes.ts")
const { openEvents } = await import("../../../../machines/functions/events/open-events.ts")
const { scope } = await import("./function-rows.ts")
const { createScriptedInvoker, thrown } = await import("./scripted-invoker.ts")

const [dataDirectory = "", hostId = "", name = "", file = ""] = process.argv.slice(2)
const { db } = await openDatabase({ dataDirectory, hostId }, new AbortController().signal)
const failed = new Set<string>()
/** At work until the end: whatever the machine's speed, something is left. */
let held: string | undefined
const events = await openEvents({
  resumes: true,
  db,
  hostId,
  changes: createFunctionChanges(),
  log: pino({ level: "silent" }),
  invoker: createScriptedInvoker(async ({ requestId }) => {
    held ??= requestId
    if (requestId === held) await new Promise(() => {})
    await sleep(Math.random() * 10)
    // A tenth fails the first time.
    if (requestId.startsWith("0") && !failed.has(requestId)) {
      failed.add(requestId)
      return thrown("once")
    }
    appendFileSync(file, `delivered ${requestId}\n`)
    return Buffer.from("null")
  }),
  destinations: { webhooks: {} },
  limits: { eventsPerFunction: 100_000, bytesPerFunction: 1e9, events: 100_000, bytes: 1e9 },
  maxInFlight: 8,
  metrics: new Registry(),
  pace: { retryMs: [50], firstHoldMs: 10, longestHoldMs: 50 },
})
const takeIn = async () => {
  for (;;) {
    const requestId = randomUUID()
    await events.intake.accept({ requestId, target: { name, qualifier: undefined }, scope, payload: Buffer.from("{}") })
    appendFileSync(file, `accepted ${requestId}\n`)
    await sleep(2)
  }
}
await Promise.all(Array.from({ length: 8 }, takeIn))
