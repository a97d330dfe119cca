/**
 * The versions' snapshots of a host: which are worth making, one at a time, and which are used no more.
 *
 * One is made of the Init of a VM of its own, after an environment's took long: that environment's first event has waited long enough,
 * and what it is told would be in all who come after. It is removed when what it is of is no more what the version is, when its base
 * isn't the runtime's any more, when it turns out to be slower than the Init, fails, or is in nobody's use.
 */
import { randomUUID } from "node:crypto"
import { rm } from "node:fs/promises"
import type { Registry as Metrics } from "prom-client"
import { unlessAborted } from "../../../src/abort.ts"
import { untilReleased } from "../../../src/capacity/release.ts"
import { messageOf } from "../../../src/errors.ts"
import { SnapshotRefused } from "../../../src/vmm/manifest.ts"
import { createTurns } from "../../building/turns.ts"
import type { FunctionChanges } from "../../functions/changes.ts"
import type { Definition } from "../../functions/definition.ts"
import type { VmHost } from "../../vm.ts"
import type { Database } from "../../vm-row.ts"
import { HostFull } from "../environments.ts"
import { estimate, estimateOf, isAsked, isWorthwhile, mayHaveSnapshot, type SnapshotPolicy } from "./choice.ts"
import { createSnapshotMetrics } from "./metrics.ts"
import type { MadeSnapshot } from "./snapshot-making.ts"
import { openSnapshotStore, type SnapshotStoreOptions } from "./snapshot-store.ts"
import type { StandingVms } from "./standing-vms.ts"
import { snapshotDirectory, type VersionSnapshot, type VersionSnapshots } from "./version-snapshots.ts"

export interface SnapshotsOptions {
  readonly db: Database
  readonly host: Pick<VmHost, "hostId" | "ledger" | "log">
  readonly dataDirectory: string
  /** Keeps VMs where snapshots begin; closed after this. */
  readonly standing: Pick<StandingVms, "put" | "take" | "fill" | "drop" | "count">
  /** Makes one in a new directory, of a VM of its own. */
  readonly make: (definition: Definition, directory: string, signal: AbortSignal) => Promise<MadeSnapshot>
  readonly changes: Pick<FunctionChanges, "listen">
  /** Whether a version is what this definition says, at this moment. */
  readonly isCurrent: (subject: Pick<Definition, "versionId" | "id">) => Promise<boolean>
  readonly policy: SnapshotPolicy
  readonly metrics: Metrics
  readonly limits: Pick<SnapshotStoreOptions, "maxBytes" | "unusedMs"> & {
    /** How much of the host's memory may be booked when a VM is begun for one that nobody has asked for. */
    readonly maxBookedShare: number
  }
}

export interface OpenSnapshots extends VersionSnapshots, AsyncDisposable {
  /**
   * Resolves when a definition has one that was asked for; rejects when it could not be made. Memory that others have is waited for: that
   * this host holds a VM of it is the caller's to know.
   */
  prepare(definition: Definition, signal: AbortSignal): Promise<void>
  /** Resolves when none is being made, or looked at. */
  settled(): Promise<void>
}

/** What a restore is taken to cost before there has been one. */
const FIRST_RESTORE_MS = 500
/** Definitions that wait for theirs; what comes then asks again with its next Init. */
const MAX_WAITING = 100
const MAX_FAILURES = 2
const MAKING_MS = 20 * 60_000
const LOOKED_THROUGH_MS = 3_600_000
/** Of definitions that are not to be tried again; the eldest are. */
const MAX_GIVEN_UP = 10_000
const NOT_RESTORED = "An environment could not be restored from its function's snapshot"

/** Opens them, after the sweep of this host. Disposing gives up what is being made. */
export const openSnapshots = async (options: SnapshotsOptions): Promise<OpenSnapshots> => {
  const { db, host, standing, make, changes, isCurrent, policy, limits } = options
  const { hostId, ledger, log } = host
  const directory = snapshotDirectory(options.dataDirectory)
  const store = await openSnapshotStore({ db, hostId, directory, ...limits, onRemoved: standing.drop, log })
  const metrics = createSnapshotMetrics(options.metrics, store.all, () => standing.count)
  const closing = new AbortController()
  const turns = createTurns(1)
  /** By definition. */
  const making = new Map<string, Promise<void>>()
  /** Failures at making, by definition; Infinity: it is of no use. */
  const givenUp = new Map<string, number>()
  const works = new Set<Promise<void>>()
  let restoreMs: number | null = null

  /** Nobody waits for it. */
  const work = (doing: Promise<void>, what: string) => {
    const done = doing
      .catch((error: unknown) => {
        if (!closing.signal.aborted) log.warn({ err: error }, what)
      })
      .finally(() => works.delete(done))
    works.add(done)
  }

  const remove = (snapshot: VersionSnapshot, why: string) =>
    work(store.remove(snapshot, why), "A function's snapshot could not be removed; the next start does it")

  const giveUp = (definitionId: string, failures: number) => {
    givenUp.delete(definitionId)
    givenUp.set(definitionId, failures)
    if (failures >= MAX_FAILURES) metrics.givenUp()
    const [eldest] = givenUp.keys()
    if (givenUp.size > MAX_GIVEN_UP && eldest !== undefined) givenUp.delete(eldest)
  }

  const reject = (snapshot: VersionSnapshot, error: unknown) => {
    giveUp(snapshot.definitionId, Infinity)
    remove(snapshot, `Restores of it fail: ${messageOf(error)}`)
  }

  const check = async (snapshot: VersionSnapshot) => {
    if (!(await isCurrent({ versionId: snapshot.versionId, id: snapshot.definitionId })))
      await store.remove(snapshot, "Its function has changed, or is gone")
  }

  const makeNow = async (definition: Definition): Promise<void> => {
    const { id: definitionId, functionId, versionId, name, version } = definition
    const id = randomUUID()
    const to = store.directoryOf(id)
    const startedAt = performance.now()
    try {
      const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(MAKING_MS)])
      const { standing: vm, ...made } = await make(definition, to, signal)
      if (vm !== undefined) standing.put(id, vm)
      const row = { id, functionId, versionId, definitionId, isAsked: isAsked(definition), ...made }
      const isKept = await store.add({ ...row, restoreMs: null, failures: 0, usedAt: new Date() })
      if (!isKept) throw new Error(`It is larger than all may be: ${made.bytes} bytes`)
      const ms = Math.round(performance.now() - startedAt)
      metrics.making("made")
      log.info({ function: name, version, snapshot: id, ...made, ms }, "A function has a snapshot")
    } catch (error) {
      if (!closing.signal.aborted && !(error instanceof HostFull)) metrics.making("failed")
      standing.drop(id)
      await rm(to, { recursive: true, force: true })
      throw error
    }
    const snapshot = store.of(definitionId)
    if (snapshot !== undefined) await check(snapshot)
  }

  /** In its turn, where there is memory to spare and it is still wanted. */
  const makeWhereThereIsRoom = async (definition: Definition): Promise<void> => {
    const leave = await turns.take(closing.signal)
    try {
      const isMuch = ledger.reservedMiB >= ledger.capacityMiB * limits.maxBookedShare
      if (isMuch || !(await isCurrent(definition))) return
      await makeNow(definition)
    } catch (error) {
      if (closing.signal.aborted || error instanceof HostFull) return
      giveUp(definition.id, (givenUp.get(definition.id) ?? 0) + 1)
      const { name, version } = definition
      log.warn({ err: error, function: name, version }, "A function's snapshot could not be made")
    } finally {
      leave()
    }
  }

  const makeAsked = async (definition: Definition): Promise<void> => {
    for (;;) {
      const waited = new AbortController()
      const released = untilReleased(ledger, AbortSignal.any([waited.signal, closing.signal]))
      released.catch(() => {})
      const leave = await turns.take(closing.signal)
      try {
        return await makeNow(definition)
      } catch (error) {
        if (!(error instanceof HostFull)) throw error
      } finally {
        leave()
        if (store.of(definition.id) !== undefined) waited.abort()
      }
      await released
    }
  }

  const begin = (definition: Definition, how: (definition: Definition) => Promise<void>): Promise<void> => {
    const { id } = definition
    const made = making.get(id) ?? how(definition).finally(() => making.delete(id))
    if (!making.has(id)) work(made, "A function's snapshot could not be made")
    making.set(id, made)
    return made
  }

  const checkAll = async (functionId?: string) => {
    for (const snapshot of store.all())
      if (functionId === undefined || snapshot.functionId === functionId) await check(snapshot)
  }
  await checkAll()
  await store.removeUnused()
  const unlisten = changes.listen((functionId) =>
    work(checkAll(functionId), "A function's snapshots could not be compared with it"),
  )
  const timer = setInterval(
    () => work(store.removeUnused(), "Unused snapshots could not be removed"),
    LOOKED_THROUGH_MS,
  ).unref()
  const settled = async () => {
    while (works.size > 0) await Promise.all(works)
  }

  return {
    of({ id }, { baseId }) {
      const snapshot = store.of(id)
      if (snapshot === undefined || snapshot.baseId === baseId) return snapshot
      remove(snapshot, "Its runtime has another base")
      return undefined
    },
    take: ({ id }) => standing.take(id),
    fill(snapshot) {
      if (store.of(snapshot.definitionId)?.id === snapshot.id) standing.fill(snapshot)
    },
    initialised(definition, init) {
      const { id } = definition
      const hasFailed = (givenUp.get(id) ?? 0) >= MAX_FAILURES
      if (hasFailed || store.of(id) !== undefined || making.size >= MAX_WAITING) return
      const isWanted =
        isAsked(definition) ||
        (mayHaveSnapshot(definition, init, policy) && isWorthwhile(init, restoreMs ?? FIRST_RESTORE_MS, policy))
      if (isWanted) void begin(definition, makeWhereThereIsRoom)
    },
    async prepare(definition, signal) {
      if (store.of(definition.id) === undefined) await unlessAborted(begin(definition, makeAsked), signal)
    },
    restored({ id, definitionId }, ms) {
      metrics.restoring("restored")
      if (ms !== undefined) restoreMs = estimate(restoreMs, ms)
      const known = store.of(definitionId)
      if (known?.id !== id) return
      const takesMs = ms === undefined ? known.restoreMs : estimateOf(known, ms)
      if (known.isAsked || takesMs === null || takesMs < known.initMs) {
        const values = { restoreMs: takesMs, failures: 0, usedAt: new Date() }
        return work(store.note(known, values), "The use of a function's snapshot could not be noted")
      }
      giveUp(definitionId, Infinity)
      remove(known, `Restores take longer than the Init, which took ${known.initMs} ms`)
    },
    failed({ id, definitionId }, error) {
      metrics.restoring("failed")
      log.warn({ err: error, snapshot: id }, NOT_RESTORED)
      const known = store.of(definitionId)
      if (known?.id !== id) return
      const failures = known.failures + 1
      if (isSpoilt(error)) remove(known, messageOf(error))
      else if (failures >= MAX_FAILURES) reject(known, error)
      else work(store.note(known, { failures }), "The failure of a function's snapshot could not be noted")
    },
    broke({ id, definitionId }, error) {
      metrics.restoring("failed")
      log.warn({ err: error, snapshot: id }, NOT_RESTORED)
      const known = store.of(definitionId)
      if (known?.id === id) reject(known, error)
    },
    settled,
    async [Symbol.asyncDispose]() {
      unlisten()
      clearInterval(timer)
      closing.abort()
      await settled()
    },
  }
}

/** Its files are missing, or not what was written. */
const isSpoilt = (error: unknown): boolean =>
  error instanceof SnapshotRefused ||
  error instanceof SyntaxError ||
  (error as NodeJS.ErrnoException | undefined)?.code === "ENOENT"
