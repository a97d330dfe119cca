/**
 * Environments that are kept initialised. What the rows say is compared with what is there whenever either has changed: too few, and
 * more are started; too many, or of another version, and they end. One that ends by itself is replaced.
 */
import type { Log } from "../../../src/log.ts"
import { functionProvisions } from "../../../src/db/functions.ts"
import type { Environment } from "../../environments/environments.ts"
import type { Database } from "../../vm-row.ts"
import type { FunctionChanges } from "../changes.ts"
import type { Definition } from "../definition.ts"
import type { DefinitionCache } from "../invoking/definition-cache.ts"
import { createCounts } from "../invoking/pool/counts.ts"
import type { Pool } from "../invoking/pool/pool.ts"
import { sharesOf } from "./provision-rows.ts"

export interface KeepingOptions {
  readonly db: Database
  readonly definitions: Pick<DefinitionCache, "of">
  readonly pool: Pick<Pool, "prepare" | "preparing" | "dismiss" | "kept">
  readonly changes: Pick<FunctionChanges, "listen">
  /** Whether everything that is to be kept is started at once; otherwise a function's at its next change. */
  readonly resumes: boolean
  readonly log: Log
}

export interface KeepingState {
  /** How many are initialised, or are being started: those that wait for room are not. */
  readonly allocated: number
  /** How many are initialised. */
  readonly available: number
  /** The Init of one has failed: no more are started until it is asked for again. */
  readonly hasFailed: boolean
}

export interface Keeping extends AsyncDisposable {
  state(functionId: string, qualifier: string): Promise<KeepingState>
  /** What has failed is tried again at the function's next change. */
  forgive(functionId: string): void
  /** Resolves when nothing is being compared; what was begun then may still start. */
  settled(): Promise<void>
}

/** After a VM that did not start; doubled with each. */
const RETRY_MS = { first: 1000, longest: 60_000 }

/** Keeps what is to be kept. Disposing starts no more; what is there stays. */
export const openKeeping = async ({
  db,
  definitions,
  pool,
  changes,
  resumes,
  log,
}: KeepingOptions): Promise<Keeping> => {
  const closing = new AbortController()
  const starting = createCounts()
  /** By definition, with its function's id. */
  const failed = new Map<string, string>()
  const waits = new Map<string, { readonly functionId: string; readonly ms: number }>()
  const watched = new WeakSet<Environment>()
  const works = new Map<string, Promise<void>>()
  const timers = new Set<NodeJS.Timeout>()

  const wantedOf = async (functionId: string) => {
    const wanted = new Map<string, { definition: Definition; count: number; byQualifier: Map<string, number> }>()
    for (const { qualifier, versionId, revisionId, count } of await sharesOf(db, functionId)) {
      const definition = await definitions.of(versionId, revisionId)
      if (definition === undefined) continue
      const one = wanted.get(definition.id) ?? { definition, count: 0, byQualifier: new Map<string, number>() }
      one.count += count
      one.byQualifier.set(qualifier, count)
      wanted.set(definition.id, one)
    }
    return wanted
  }

  const keptOf = (functionId: string, definitionId: string) =>
    pool.kept(functionId).filter((environment) => environment.definitionId === definitionId)

  const compare = async (functionId: string) => {
    const wanted = await wantedOf(functionId)
    const isForgotten = (definitionId: string, owner: string) => owner === functionId && !wanted.has(definitionId)
    for (const [id, owner] of failed) if (isForgotten(id, owner)) failed.delete(id)
    for (const [id, wait] of waits) if (isForgotten(id, wait.functionId)) waits.delete(id)
    for (const environment of pool.kept(functionId)) {
      watch(environment)
      if (!wanted.has(environment.definitionId)) pool.dismiss(environment, "api", "It is provisioned no more")
    }
    for (const [definitionId, { definition, count }] of wanted) {
      const there = keptOf(functionId, definitionId)
      for (const environment of there.slice(count)) pool.dismiss(environment, "api", "It is provisioned no more")
      if (failed.has(definitionId)) continue
      for (let missing = count - there.length - starting.of(definitionId); missing > 0; missing -= 1) start(definition)
    }
  }

  const start = (definition: Definition) => {
    starting.add(definition.id)
    pool.prepare(definition, closing.signal).then(
      (environment) => {
        starting.take(definition.id)
        waits.delete(definition.id)
        watch(environment)
        if (environment.initFailure !== undefined) {
          failed.set(definition.id, definition.functionId)
          pool.dismiss(environment, "exit", "Its Init has failed")
        }
        // It may have been given up meanwhile.
        begin(definition.functionId)
      },
      (error: unknown) => {
        starting.take(definition.id)
        if (closing.signal.aborted) return
        const waitMs = waits.get(definition.id)?.ms ?? RETRY_MS.first
        waits.set(definition.id, { functionId: definition.functionId, ms: Math.min(waitMs * 2, RETRY_MS.longest) })
        log.warn({ err: error, function: definition.name, waitMs }, "A provisioned environment did not start")
        const timer = setTimeout(() => {
          timers.delete(timer)
          begin(definition.functionId)
        }, waitMs)
        timers.add(timer)
      },
    )
  }

  const watch = (environment: Environment) => {
    if (watched.has(environment)) return
    watched.add(environment)
    void environment.over.then(() => begin(environment.functionId))
  }

  /** One after another for each function: two at once would start the same twice. */
  const begin = (functionId: string) => {
    if (closing.signal.aborted) return
    const work = (works.get(functionId) ?? Promise.resolve())
      .then(() => compare(functionId))
      .catch((error: unknown) => log.error({ err: error, functionId }, "Provisioned environments are not kept"))
      .then(() => {
        if (works.get(functionId) === work) works.delete(functionId)
      })
    works.set(functionId, work)
  }

  const unlisten = changes.listen(begin)
  const resume = async () => {
    const rows = await db
      .select({ functionId: functionProvisions.functionId })
      .from(functionProvisions)
      .groupBy(functionProvisions.functionId)
    const there = pool.kept().map((environment) => environment.functionId)
    for (const functionId of new Set([...rows.map((row) => row.functionId), ...there])) begin(functionId)
  }
  if (resumes) await resume()

  const settled = async () => {
    while (works.size > 0) await Promise.all(works.values())
  }

  return {
    async state(functionId, qualifier) {
      let [allocated, available, hasFailed] = [0, 0, false]
      for (const [definitionId, { count, byQualifier }] of await wantedOf(functionId)) {
        const share = byQualifier.get(qualifier)
        if (share === undefined) continue
        const there = keptOf(functionId, definitionId).length
        const shareOf = (some: number) => Math.floor((Math.min(count, some) * share) / count)
        available += shareOf(there)
        allocated += shareOf(there + pool.preparing(definitionId))
        hasFailed ||= failed.has(definitionId)
      }
      return { allocated, available, hasFailed }
    },
    forgive(functionId) {
      for (const [definitionId, owner] of failed) if (owner === functionId) failed.delete(definitionId)
    },
    settled,
    async [Symbol.asyncDispose]() {
      unlisten()
      closing.abort(new Error("The service is closing"))
      for (const timer of timers) clearTimeout(timer)
      await settled()
    },
  }
}
