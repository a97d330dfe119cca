/**
 * Makes ready what environments are launched from that nobody has asked for yet: after a daemon's start for the functions that were used or
 * changed last, and for each that is deployed. It is behind everything that somebody waits for, and what was made for nothing ends as what
 * is used no more.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { isRuntimeName } from "../../images/runtimes/runtimes.ts"
import type { FunctionSettings } from "../../src/db/function-values.ts"
import type { Log } from "../../src/log.ts"
import type { Definition } from "../functions/definition.ts"
import type { RuntimeBases } from "./runtime-bases.ts"
import type { VersionSnapshots } from "./snapshots/version-snapshots.ts"
import { STARTING_MS, type Starts } from "./starts.ts"
import type { WarmPool } from "./warm-pool.ts"
import type { TrainedGround } from "./warm-vm.ts"

export interface Foresight extends AsyncDisposable {
  /** Begins with what the functions of an earlier daemon may need, soon; returns at once. */
  begin(): void
  /** A function with these settings will be there. Returns at once. */
  deployed(settings: GroundSettings): void
}

/** What of its settings a function's environments are launched by. */
export type GroundSettings = Pick<FunctionSettings, "runtime" | "memoryMiB" | "temporaryMiB">

export interface ForesightOptions {
  readonly bases: Pick<RuntimeBases, "of">
  /** What a `/tmp` with so much room stands on. */
  readonly temporaryOf: (roomMiB: number, signal: AbortSignal) => Promise<string>
  readonly pool: Pick<WarmPool, "fill" | "maxVms">
  readonly snapshots: Pick<VersionSnapshots, "of" | "fill">
  readonly starts: Pick<Starts, "untilNone">
  /** What may be used soon, the likeliest first. */
  readonly likely: () => AsyncIterable<Definition>
  readonly log: Log
  /** How long whoever has waited for the daemon's start goes first. */
  readonly pauseMs?: number
}

/** Disposing it ends what it has begun with, but for what its pool makes. */
export const createForesight = (options: ForesightOptions): Foresight => {
  const { bases, temporaryOf, pool, snapshots, starts, likely, log, pauseMs = 2000 } = options
  const closing = new AbortController()
  const { signal } = closing
  const works = new Set<Promise<void>>()

  const failed = (error: unknown) => {
    if (!signal.aborted) log.warn({ err: error }, "Nothing could be made ready for a function")
  }
  /** Nobody waits for it. */
  const work = (doing: Promise<void>) => {
    const done = doing.catch(failed).finally(() => works.delete(done))
    works.add(done)
  }

  const groundOf = async ({ runtime, memoryMiB, temporaryMiB }: GroundSettings): Promise<TrainedGround | undefined> => {
    if (!isRuntimeName(runtime)) return undefined
    const [base, temporary] = await Promise.all([
      bases.of(runtime, memoryMiB, signal),
      temporaryOf(temporaryMiB, signal),
    ])
    await starts.untilNone(AbortSignal.any([signal, AbortSignal.timeout(STARTING_MS)]))
    return { runtime, base, temporary }
  }

  const readyDeployed = async (settings: GroundSettings) => {
    const ground = await groundOf(settings)
    if (ground !== undefined) await pool.fill(ground, "deployment")
  }

  const readyLikely = async () => {
    await sleep(pauseMs, undefined, { signal, ref: false })
    const [standing, loaded] = [new Set<string>(), new Set<string>()]
    for await (const definition of likely()) {
      const ground = await groundOf(definition.settings).catch(failed)
      signal.throwIfAborted()
      if (ground === undefined) continue
      const snapshot = snapshots.of(definition, ground.base)
      if (snapshot !== undefined) {
        if (standing.add(snapshot.id).size <= pool.maxVms) snapshots.fill(snapshot)
        continue
      }
      await pool.fill(ground, "start")
      if (loaded.add(`${ground.base.baseId} ${ground.temporary}`).size >= pool.maxVms) return
    }
  }

  return {
    begin() {
      if (pool.maxVms > 0) work(readyLikely())
    },
    deployed(settings) {
      if (pool.maxVms > 0 && !signal.aborted) work(readyDeployed(settings))
    },
    async [Symbol.asyncDispose]() {
      closing.abort()
      await Promise.all(works)
    },
  }
}
