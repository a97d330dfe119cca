import { randomUUID } from "node:crypto"
import { eq } from "drizzle-orm"
import { pino } from "pino"
import { Registry } from "prom-client"
import { expect } from "vitest"
import { createFunctionChanges } from "../../../../machines/functions/changes.ts"
import { openEvents, type EventsOptions, type OpenEvents } from "../../../../machines/functions/events/open-events.ts"
import { functionEvents, functions } from "../../../../src/db/functions.ts"
import { registerHost } from "../../../../src/db/identity.ts"
import { openTestDatabase, type TestDatabase } from "../../../db/database.ts"
import { eventually } from "../../../fixtures/eventually.ts"
import { insertFunction, scope } from "./function-rows.ts"
import { createScriptedInvoker, type Script } from "./scripted-invoker.ts"

const MiB = 1024 ** 2

export interface EventsUnderTest extends AsyncDisposable {
  readonly events: OpenEvents
  readonly metrics: Registry
  /** What was logged. */
  readonly lines: Record<string, unknown>[]
  /** Answers the request id. */
  accept(name: string, payload?: string, qualifier?: string): Promise<string>
}

/** A database with a host, on which queues can be opened; it is disposed with it. */
export const openHost = async (given?: TestDatabase) => {
  const database = given ?? (await openTestDatabase())
  const { db, hostId } = database
  const changes = createFunctionChanges()
  await registerHost(db, hostId, "here")
  const waiting = async (name: string) =>
    (
      await db
        .select({ position: functionEvents.position })
        .from(functionEvents)
        .where(eq(functionEvents.functionName, name))
    ).length

  return {
    db,
    changes,
    /** The host's queue, with functions that do what the script says; unless it shan't, in more of a hurry than AWS. */
    async open(script: Script, more: Partial<EventsOptions> = {}, isInHurry = true): Promise<EventsUnderTest> {
      const metrics = new Registry()
      const lines: Record<string, unknown>[] = []
      const events = await openEvents({
        resumes: true,
        db,
        hostId,
        changes,
        log: pino(
          { level: "info" },
          { write: (line: string) => void lines.push(JSON.parse(line) as (typeof lines)[0]) },
        ),
        invoker: createScriptedInvoker(script),
        destinations: { webhooks: {} },
        limits: { eventsPerFunction: 1000, bytesPerFunction: 100 * MiB, events: 5000, bytes: 100 * MiB },
        maxInFlight: 16,
        metrics,
        ...(isInHurry ? { pace: { retryMs: [30, 60], firstHoldMs: 10, longestHoldMs: 50 } } : {}),
        ...more,
      })
      return {
        events,
        metrics,
        lines,
        async accept(name, payload = "{}", qualifier) {
          const requestId = randomUUID()
          await events.intake.accept({ requestId, target: { name, qualifier }, scope, payload: Buffer.from(payload) })
          return requestId
        },
        [Symbol.asyncDispose]: () => events.close(10),
      }
    },
    /** Makes a function; answers its name. */
    async make({
      name = `f-${randomUUID().slice(0, 8)}`,
      ...more
    }: Parameters<typeof insertFunction>[3] & { name?: string } = {}): Promise<string> {
      await insertFunction(db, hostId, name, more)
      return name
    },
    async idOf(name: string): Promise<string> {
      const [row] = await db.select({ id: functions.id }).from(functions).where(eq(functions.name, name))
      if (row === undefined) throw new Error(`There is no function ${name}`)
      return row.id
    },
    /** How much of a function is in the queue: its events, and what is told of them. */
    waiting,
    untilEmpty: (name: string) => eventually(async () => expect(await waiting(name)).toBe(0), { interval: 10 }),
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  }
}

export type HostUnderTest = Awaited<ReturnType<typeof openHost>>
