/**
 * Owns the actors of one kind of thing and writes each of their steps to Postgres, in order.
 * A row is stored before its actor starts; an actor's side effects wait for {@link Registry.stored}, so what was begun is always known.
 */
import { createActor, type Actor, type AnyStateMachine, type InputFrom, type Snapshot, type SnapshotFrom } from "xstate"
import { messageOf } from "../src/errors.ts"
import type { Log } from "../src/log.ts"

export interface Kind<Machine extends AnyStateMachine> {
  readonly name: string
  readonly machine: Machine
  /**
   * Writes one step where the row's generation is `generation`, raising it by one, with its audit and outbox rows in the same
   * transaction. `false`: no such row, so another owner has it.
   */
  save(id: string, generation: number, snapshot: SnapshotFrom<Machine>, persisted: Snapshot<unknown>): Promise<boolean>
  /** Whether a step says more than the one that was stored before it; it is neither stored nor observed otherwise. Every step does when this is left out. */
  isNews?(snapshot: SnapshotFrom<Machine>, stored: SnapshotFrom<Machine>): boolean
  /** Called with each step at once, before it is stored. */
  observe?(id: string, snapshot: SnapshotFrom<Machine>): void
}

export type Beginning<Machine extends AnyStateMachine> =
  /** `isStored`: the row says already what the first step would. */
  | { readonly input: InputFrom<Machine>; readonly isStored?: boolean }
  | { readonly input: InputFrom<Machine>; readonly persisted: Snapshot<unknown> }

export interface Registry<Machine extends AnyStateMachine> {
  /** Starts the actor of a stored row. A persisted snapshot continues where it was; else the machine enters by its input. */
  start(id: string, generation: number, beginning: Beginning<Machine>): Actor<Machine>
  get(id: string): Actor<Machine> | undefined
  all(): Actor<Machine>[]
  /** Resolves when every step up to now is in Postgres. */
  stored(id: string): Promise<void>
  /** Lets go of every actor without ending anything: what they own runs on, and the next start finds it. */
  close(): Promise<void>
}

interface Entry<Machine extends AnyStateMachine> {
  readonly actor: Actor<Machine>
  generation: number
  /** The tail of this row's writes. */
  writes: Promise<void>
  unsubscribe(): void
}

/** How long a write that failed by weather (a restarting database) is tried again, in ms from one try to the next. */
const RETRY_MS = [50, 200, 1000, 3000]

/** A registry for one kind; the caller closes it. */
export const createRegistry = <Machine extends AnyStateMachine>(kind: Kind<Machine>, log: Log): Registry<Machine> => {
  const entries = new Map<string, Entry<Machine>>()
  let closed = false

  const release = (id: string) => {
    const entry = entries.get(id)
    if (entry === undefined) return
    entries.delete(id)
    entry.unsubscribe()
    entry.actor.stop()
  }

  const write = async (
    id: string,
    entry: Entry<Machine>,
    snapshot: SnapshotFrom<Machine>,
    persisted: Snapshot<unknown>,
  ) => {
    for (let attempt = 0; !closed && entries.get(id) === entry; attempt++) {
      try {
        if (await kind.save(id, entry.generation, snapshot, persisted)) {
          entry.generation++
        } else {
          log.error(
            { kind: kind.name, id, generation: entry.generation },
            "Another owner has written this row; letting go of it",
          )
          release(id)
        }
        return
      } catch (error) {
        log.warn({ kind: kind.name, id, attempt, err: error }, "A step could not be stored; trying again")
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)]))
      }
    }
  }

  return {
    start(id, generation, beginning) {
      const options =
        "persisted" in beginning
          ? { snapshot: beginning.persisted, input: beginning.input }
          : { input: beginning.input }
      const actor = createActor(kind.machine, options as never)
      const entry: Entry<Machine> = {
        actor,
        generation,
        writes: Promise.resolve(),
        unsubscribe: () => subscription.unsubscribe(),
      }
      entries.set(id, entry)
      let last: SnapshotFrom<Machine> | undefined
      const store = (snapshot: SnapshotFrom<Machine>) => {
        if (last !== undefined && kind.isNews?.(snapshot, last) === false) return
        const isStored = last === undefined && "isStored" in beginning && beginning.isStored
        last = snapshot
        kind.observe?.(id, snapshot)
        if (isStored) return
        const persisted = actor.getPersistedSnapshot()
        entry.writes = entry.writes.then(() => write(id, entry, snapshot, persisted))
        if ((snapshot as Snapshot<unknown>).status !== "active") void entry.writes.then(() => release(id))
      }
      const subscription = actor.subscribe({
        next: (snapshot) => store(snapshot),
        error: (error) => log.error({ kind: kind.name, id, err: error, message: messageOf(error) }, "An actor failed"),
      })
      actor.start()
      return actor
    },
    get: (id) => entries.get(id)?.actor,
    all: () => [...entries.values()].map(({ actor }) => actor),
    async stored(id) {
      // The step that asks is queued only after the transition that started it has been announced.
      await Promise.resolve()
      await entries.get(id)?.writes
    },
    async close() {
      closed = true
      const writes = [...entries.values()].map((entry) => entry.writes)
      for (const id of entries.keys()) release(id)
      await Promise.allSettled(writes)
    },
  }
}
