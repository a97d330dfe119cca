/** The execution environments of this host: their rows, their statecharts, and what an earlier daemon has left of them. */
import { randomUUID } from "node:crypto"
import { eq } from "drizzle-orm"
import { waitFor, type Actor } from "xstate"
import { isRuntimeName } from "../../images/runtimes/runtimes.ts"
import { vms } from "../../src/db/schema.ts"
import type { Cause } from "../../src/db/values.ts"
import type { Secrets } from "../../src/secrets.ts"
import { createEnvironmentMachine, toEnvironmentState, type EnvironmentMachine } from "../environment.ts"
import type { Definition } from "../functions/definition.ts"
import type { FunctionDiskStore } from "../functions/disks/function-disks.ts"
import { drivesOf, toFunctionSpec } from "../functions/function-spec.ts"
import { credentialsOf, type Roles } from "../functions/roles.ts"
import { createRegistry } from "../registry.ts"
import { liveVms, type Database } from "../vm-row.ts"
import type { Work } from "../work.ts"
import { VCPUS } from "./base-making.ts"
import { createDesk } from "./desk.ts"
import type { EnvironmentDisks } from "./drives.ts"
import { createEnvironmentVerbs, type EnvironmentLifeOptions, type LaunchedFrom } from "./environment-life.ts"
import {
  insertEnvironment,
  liveEnvironments,
  openDefinition,
  saveEnvironment,
  toEnvironmentInput,
  type EnvironmentRow,
} from "./environment-row.ts"
import { HostFull, type Environment, type Environments } from "./environments.ts"
import { toEnvironment, untilReady } from "./handle.ts"
import { toLogAddress } from "./log-address.ts"
import type { RuntimeBases } from "./runtime-bases.ts"
import { createSession, type Session } from "./session.ts"
import type { VersionSnapshots } from "./snapshots/version-snapshots.ts"
import { createStarts, STARTING_MS, type Starts } from "./starts.ts"
import type { WarmPool } from "./warm-pool.ts"
import { giveDrives, type GivenVm } from "./warm-vm.ts"

export interface EnvironmentsOptions extends Pick<
  EnvironmentLifeOptions,
  "host" | "places" | "emptyDrive" | "createOverlay" | "spares"
> {
  readonly db: Database & { transaction<T>(work: (tx: Database) => Promise<T>): Promise<T> }
  readonly secrets: Pick<Secrets, "seal" | "open">
  readonly disks: FunctionDiskStore
  readonly bases: RuntimeBases
  /** Without one every VM is loaded from its base. */
  readonly pool?: Pick<WarmPool, "take" | "fill">
  /** Without any every environment is initialised. */
  readonly snapshots?: VersionSnapshots
  /** Told of environments that are started; nobody else is interested when left out. */
  readonly starts?: Starts
  /** Of which functions have credentials; none when left out. */
  readonly roles?: Roles
  readonly work: Work
  readonly limits: EnvironmentLimits
}

/** An event may take long; then others may need one that is made meanwhile. */
const RESTED_MS = 2000

/** Resolves when an environment waits, or is over, or has been at work for long. */
const untilRested = (actor: Actor<EnvironmentMachine>): Promise<unknown> =>
  waitFor(actor, (snapshot) => snapshot.status !== "active" || snapshot.matches({ alive: { running: "frozen" } }), {
    timeout: RESTED_MS,
  }).catch(() => {})

export interface EnvironmentLimits {
  /** How long one waits for an event. */
  readonly idleMs: number
  /** How long one lives, events or not. */
  readonly lifetimeMs: number
  /** How long an Init may take that somebody waits for; AWS has ten seconds. */
  readonly initMs: number
}

export const defaultEnvironmentLimits: EnvironmentLimits = {
  idleMs: 5 * 60_000,
  lifetimeMs: 8 * 3_600_000,
  initMs: 10_000,
}

export interface OpenEnvironments extends Environments, AsyncDisposable {
  /** Ends all of them, and resolves when nothing of them is left. */
  endAll(cause: Cause, reason: string): Promise<void>
}

interface Occupant {
  readonly id: string
  readonly session: Session
  /** Until its VM has been launched. */
  readonly disks: EnvironmentDisks | undefined
  /** The VM that it is launched as, if that needs no loading. */
  warm: Promise<GivenVm | undefined> | undefined
  from: LaunchedFrom | undefined
}

/**
 * Opens them, after the sweep of this host: what can go on is taken over when it resolves. Disposing lets go of every one; they run on,
 * and are found at the next start.
 */
export const openEnvironments = async (
  options: EnvironmentsOptions,
  signal: AbortSignal,
): Promise<OpenEnvironments> => {
  const { db, host, secrets, disks, bases, pool, snapshots, work, limits, starts = createStarts() } = options
  const { hostId, ledger, logs, log } = host
  const occupants = new Map<string, Occupant>()
  const occupantOf = (vmId: string): Occupant => {
    const found = occupants.get(vmId)
    if (found === undefined) throw new Error(`There is no environment in VM ${vmId}`)
    return found
  }

  const verbs = createEnvironmentVerbs({
    ...options,
    snapshots,
    initMs: limits.initMs,
    stored: (vmId) => registry.stored(occupantOf(vmId).id),
    sessionOf: (vmId) => occupantOf(vmId).session,
    disksOf(vmId) {
      const { disks: laid } = occupantOf(vmId)
      if (laid === undefined) throw new Error(`The environment in VM ${vmId} has been launched before`)
      return laid
    },
    warmOf(vmId) {
      const occupant = occupantOf(vmId)
      const { warm } = occupant
      // Launched again it is another.
      occupant.warm = undefined
      return warm
    },
    snapshotOf(vmId) {
      const occupant = occupantOf(vmId)
      const { from } = occupant
      occupant.from = undefined
      return from
    },
  })
  const registry = createRegistry(
    {
      name: "environment",
      machine: createEnvironmentMachine(work.count(verbs), (vmId) => occupantOf(vmId).session.desk),
      save: (id, generation, snapshot) => db.transaction((tx) => saveEnvironment(tx, id, generation, snapshot)),
      // At an event or frozen, it runs.
      isNews: (snapshot, stored) => toEnvironmentState(snapshot) !== toEnvironmentState(stored),
      observe(id, snapshot) {
        const { vmId, cause, stateReason } = snapshot.context
        const state = toEnvironmentState(snapshot)
        log.info({ environment: id, vmId, state, cause, reason: stateReason ?? undefined }, "Environment")
      },
    },
    log,
  )

  const occupy = (
    row: EnvironmentRow,
    definition: Definition,
    origin: Partial<Pick<Occupant, "disks" | "warm" | "from">> = {},
  ): Occupant => {
    const { id, vmId, initialization } = row
    const sharesProcessor = host.vmm.accelerator === "kvm"
    const credentials = credentialsOf(options.roles ?? {}, definition)
    const toSpec = () =>
      toFunctionSpec(definition, { initialization, sharesProcessor, credentials, ...toLogAddress(row, definition) })
    const session = createSession({ vmId, definition, initialization, toSpec, desk: createDesk() })
    const occupant = { id, session, disks: origin.disks, warm: origin.warm, from: origin.from }
    occupants.set(vmId, occupant)
    return occupant
  }

  const begin = (
    row: EnvironmentRow,
    { session }: Occupant,
    memoryMiB: number,
    isNew: boolean,
  ): { actor: Actor<EnvironmentMachine>; environment: Environment } => {
    const input = { ...toEnvironmentInput(row, limits.idleMs), isNew }
    const actor = registry.start(row.id, row.generation, { input, isStored: isNew })
    const over = Promise.withResolvers<void>()
    const subscription = actor.subscribe({
      complete() {
        if (actor.getSnapshot().status !== "done") return
        subscription.unsubscribe()
        occupants.delete(row.vmId)
        over.resolve()
      },
    })
    return { actor, environment: toEnvironment(row, session, actor, memoryMiB, over.promise) }
  }

  /** Not before its first event is answered, if it has one, nor while others are started or may be about to: it would be made at their cost. */
  const fillBehind = async (vmId: string, actor: Actor<EnvironmentMachine>, fill: () => void) => {
    await untilRested(actor)
    const late = AbortSignal.timeout(STARTING_MS)
    do {
      await starts.untilNone(late)
      await host
        .live(vmId)
        ?.vm.untilQuiet(late)
        .catch(() => {})
    } while (starts.count > 0 && !late.aborted)
    fill()
  }

  const adopted: Environment[] = []
  const memory = new Map((await liveVms(db, hostId)).map(({ id, memoryMiB }) => [id, memoryMiB]))
  await Promise.all(
    (await liveEnvironments(db, hostId)).map(async (row) => {
      const occupant = occupy(row, openDefinition(secrets, row))
      const { actor, environment } = begin(row, occupant, memory.get(row.vmId) ?? 0, false)
      await waitFor(actor, (snapshot) => !snapshot.matches({ alive: "adopting" }), { timeout: Infinity, signal })
      if (!environment.isOver) adopted.push(environment)
    }),
  )

  return {
    idle: () => adopted.filter((environment) => !environment.isOver),
    async start(definition, initialization, startSignal) {
      const { runtime, memoryMiB } = definition.settings
      const [base, files] = await Promise.all([
        bases.of(runtime, memoryMiB, startSignal),
        disks.of(definition, startSignal),
      ])
      startSignal.throwIfAborted()
      // Who keeps environments initialised doesn't wait for their Init.
      const snapshot = initialization === "on-demand" ? snapshots?.of(definition, base) : undefined
      const ground = { base, temporary: files.temporary }
      const standing = snapshot && snapshots?.take(snapshot)
      const warm = snapshot === undefined ? pool?.take(ground) : undefined
      const taken = standing ?? warm
      const vmId = taken?.vm.spec.vmId ?? randomUUID()
      // What it says goes on in the log of its VM, if that has one.
      const [id, createdAt] = standing?.loggedSince ? [vmId, standing.loggedSince] : [randomUUID(), new Date()]
      if (!ledger.reserve(vmId, base.memoryMiB))
        throw new HostFull("There is not enough memory on this host for another environment now.")
      const laid = { ...files, runtime: base.runtimeDrive }
      // Meanwhile its row says that it is a build's: one whose daemon dies is ended by the next.
      const given = warm && giveDrives(host, warm, laid, drivesOf(definition))
      const deadlineAt = new Date(createdAt.getTime() + limits.lifetimeMs)
      const row = await db
        .transaction(async (tx) => {
          const kind = "environment"
          const { baseId, memoryMiB: vmMiB } = base
          if (taken !== undefined) await tx.update(vms).set({ kind }).where(eq(vms.id, vmId))
          else await tx.insert(vms).values({ id: vmId, hostId, kind, baseId, memoryMiB: vmMiB, vcpus: VCPUS })
          const made = { id, vmId, hostId, definition, initialization, createdAt, deadlineAt }
          const { logGroup: group, logStream: stream } = toLogAddress(made, definition)
          const [inserted] = await Promise.all([
            insertEnvironment(tx, secrets, made),
            standing?.loggedSince ? undefined : logs.create(tx, vmId, { ...definition.scope, group, stream }),
          ])
          return inserted
        })
        .catch(async (error: unknown) => {
          await given
          if (taken === undefined) ledger.release(vmId)
          else await host.end(vmId)
          throw error
        })
      const from = snapshot && { snapshot, standing }
      const occupant = occupy(row, definition, { disks: laid, warm: given, from })
      const { actor, environment } = begin(row, occupant, base.memoryMiB, true)
      const ended = untilReady(actor, environment, startSignal)
      starts.add(ended.then(() => untilRested(actor)))
      try {
        await ended
      } finally {
        if (snapshot !== undefined) void fillBehind(vmId, actor, () => snapshots?.fill(snapshot))
        else if (isRuntimeName(runtime))
          void fillBehind(vmId, actor, () => void pool?.fill({ runtime, ...ground }, "use"))
      }
      return environment
    },
    async endAll(cause, reason) {
      const actors = registry.all()
      for (const actor of actors) actor.send({ type: "TERMINATE", cause, reason })
      await Promise.all(actors.map((actor) => waitFor(actor, ({ status }) => status === "done", { timeout: Infinity })))
    },
    [Symbol.asyncDispose]: () => registry.close(),
  }
}
