/** Writing down what became of events: those that end at once in one transaction. */
import { setTimeout as sleep } from "node:timers/promises"
import { messageOf } from "../../../../src/errors.ts"
import type { FunctionsGround } from "../../ground.ts"
import { createBatches } from "../batches.ts"
import type { NewEvent, QueuedEvent, Verdict } from "./event.ts"
import type { Room } from "./room.ts"
import { insertEvents, postponeEvent, removeEvents } from "./rows.ts"

interface Settlement {
  readonly event: QueuedEvent
  readonly verdict: Exclude<Verdict, { is: "held" }>
}

export interface SettlementGround extends Pick<FunctionsGround, "db" | "hostId" | "log"> {
  readonly room: Room
  arrived(event: NewEvent): void
}

const [BATCH_EVENTS, BATCH_BYTES] = [200, 4 * 1024 ** 2]
/** How long after a failure of the database it is asked again. */
const RETRY_MS = 1000

const followers = ({ verdict }: Settlement) => (verdict.is === "over" ? verdict.follow : [])

/** Resolves when it is written, however long the database is away; `closing` gives up, and the event is tried once more by the next daemon. */
export const createSettlements = ({ db, hostId, room, log, arrived }: SettlementGround, closing: AbortSignal) => {
  const write = (settlements: readonly Settlement[]) =>
    db.transaction(async (tx) => {
      const over = settlements.filter(({ verdict }) => verdict.is === "over")
      const gone = await removeEvents(
        tx,
        over.map(({ event }) => event.position),
      )
      // One that isn't there any more was written before, by a transaction of which the answer was lost.
      const follow = over.filter(({ event }) => gone.has(event.position)).flatMap(followers)
      await insertEvents(tx, hostId, follow, new Date())
      for (const { event, verdict } of settlements)
        if (verdict.is === "later") await postponeEvent(tx, event.position, verdict.attempts, verdict.at)
      return follow
    })

  const batches = createBatches<Settlement, void>({
    mostItems: BATCH_EVENTS,
    mostBytes: BATCH_BYTES,
    bytesOf: (settlement) => followers(settlement).reduce((sum, { body }) => sum + body.length, 0),
    async work(settlements) {
      const follow = await write(settlements)
      for (const { event, verdict } of settlements)
        if (verdict.is === "over") room.give(event, { events: 1, bytes: event.body.length })
      for (const event of follow) {
        room.add(event, { events: 1, bytes: event.body.length })
        arrived(event)
      }
      return settlements.map(() => undefined)
    },
  })

  return async (settlement: Settlement): Promise<void> => {
    for (;;)
      try {
        return await batches.add(settlement)
      } catch (error) {
        log.warn({ error: messageOf(error) }, "What became of an event is not written yet")
        await sleep(RETRY_MS, undefined, { signal: closing })
      }
  }
}
