/** What the statechart of an environment does to its VM: the life of any VM from a base, and what is an environment's own. */
import { setImmediate as turn } from "node:timers/promises"
import { unlessAborted } from "../../src/abort.ts"
import type { AgentClient } from "../../src/agent/client.ts"
import type { EnvironmentVerbs } from "../environment.ts"
import type { Places } from "../disks.ts"
import { drivesOf, FUNCTION_HOSTNAME } from "../functions/function-spec.ts"
import type { Spares } from "../vms/spares.ts"
import type { VmHost } from "../vm.ts"
import { makeVmDirectory } from "../vm.ts"
import { endLast } from "../vms/end-last.ts"
import { createVmVerbs, toThawInput } from "../vms/vm-life.ts"
import { findVm } from "../vm-row.ts"
import { takeGiven } from "./desk.ts"
import { layDrives, mountDrives, readDrives, type EnvironmentDisks } from "./drives.ts"
import { HostFull } from "./environments.ts"
import { serveEvent } from "./event.ts"
import { endPrograms, initialise } from "./init-phase.ts"
import { restore } from "./restore-phase.ts"
import { connectSession, disconnectSession, freezeSession, thawSession, type Session } from "./session.ts"
import { laySnapshot } from "./snapshots/snapshot-loading.ts"
import type { StandingVm } from "./snapshots/standing-vms.ts"
import { remainsOf, type VersionSnapshot, type VersionSnapshots } from "./snapshots/version-snapshots.ts"
import type { GivenVm } from "./warm-vm.ts"

export interface EnvironmentLifeOptions {
  readonly host: VmHost
  readonly places: Places
  /** What is behind a drive that has nothing. */
  readonly emptyDrive: string
  readonly createOverlay: (path: string) => Promise<void>
  /** Processes that stand ready for VMs of runtimes' bases. */
  readonly spares?: Spares
  /** How long an Init may take that somebody waits for. */
  readonly initMs: number
  /** Resolves when the owner's row says what is being done. */
  readonly stored: (vmId: string) => Promise<void>
  readonly sessionOf: (vmId: string) => Session
  /** Of one that is about to be launched. */
  readonly disksOf: (vmId: string) => EnvironmentDisks
  /** What it is launched as, once, when it need not be loaded any more. */
  readonly warmOf: (vmId: string) => Promise<GivenVm | undefined> | undefined
  /** What it is launched from, once, when it need not be initialised. */
  readonly snapshotOf: (vmId: string) => LaunchedFrom | undefined
  /** Told of how Inits and restores went. */
  readonly snapshots: Omit<VersionSnapshots, "of" | "take" | "fill"> | undefined
}

/** A snapshot, and what its VM is launched as when that is loaded already. */
export interface LaunchedFrom {
  readonly snapshot: VersionSnapshot
  readonly standing: StandingVm | undefined
}

/** What AWS gives programs to end in, and what an emulated guest takes for it. */
const SHUTDOWN_MS = 10_000

/** The verbs of the statechart over this host. */
export const createEnvironmentVerbs = (options: EnvironmentLifeOptions): EnvironmentVerbs => {
  const { host, createOverlay, emptyDrive, sessionOf, disksOf, snapshots } = options
  const vm = createVmVerbs({
    ...options,
    drivesOf: (vmId) => readDrives(host.directoryOf(vmId), emptyDrive),
    hostnameOf: () => FUNCTION_HOSTNAME,
  })

  const connect = (vmId: string, agent?: AgentClient) => {
    const live = host.live(vmId)
    if (live === undefined) throw new Error("its process has ended")
    return connectSession(sessionOf(vmId), live, toThawInput(host, live, FUNCTION_HOSTNAME), agent)
  }

  /** It runs, with a clock, an identity and randomness of its own. */
  const runStanding = async ({ vm: process, slot, incarnation }: StandingVm, signal: AbortSignal) => {
    const live = await host.hold(process, slot, incarnation, signal)
    await options.stored(process.spec.vmId)
    // What it is told meanwhile is the first that it does.
    await Promise.all([process.continue(), live.guest.thaw(toThawInput(host, live, FUNCTION_HOSTNAME), signal)])
  }

  /** Restores that have begun, until their hooks have been run. */
  const restoring = new Map<string, { snapshot: VersionSnapshot; isLoaded: boolean; beganAt: number }>()

  /** Those that were launched from their runtime's base, and have not answered yet. */
  const fresh = new Set<string>()

  /** Another of its base will do as it has done. */
  const noteBeginning = async (vmId: string) => {
    if (!fresh.delete(vmId)) return
    const noted = host.live(vmId)?.vm.noteTouched()
    await noted?.catch((error: unknown) => host.log.warn({ vmId, err: error }, "What a VM touches first was not noted"))
  }

  /** It goes on where the VM was that the snapshot was taken of. Answers `false` when that is not to be had, and nothing is left of it. */
  const launchFrom = async (
    { snapshot, standing }: LaunchedFrom,
    vmId: string,
    signal: AbortSignal,
  ): Promise<boolean> => {
    const beganAt = performance.now()
    try {
      if (standing === undefined) {
        await laySnapshot(host, vmId, snapshot)
        await vm.launch(vmId, signal, remainsOf(snapshot))
      } else await runStanding(standing, signal)
      restoring.set(vmId, { snapshot, isLoaded: standing === undefined, beganAt })
      connect(vmId)
      return true
    } catch (error) {
      signal.throwIfAborted()
      if (standing === undefined) snapshots?.failed(snapshot, error)
      else {
        host.log.warn({ vmId, err: error }, "A VM that stood ready was of no use; its snapshot is loaded")
        await host.stop(await findVm(host.db, vmId))
      }
      await host.removeDirectoryOf(vmId)
      return standing !== undefined && launchFrom({ snapshot, standing: undefined }, vmId, signal)
    }
  }

  /** The Init phase, in which what is measured says whether others of its definition shall have it. */
  const initialiseFirst = async (session: Session, signal: AbortSignal): Promise<void> => {
    await initialise(session, options.initMs, signal)
    const { definition, initMs, hasExtensions } = session
    if (initMs !== undefined) snapshots?.initialised(definition, { initMs, hasExtensions })
  }

  return {
    ...endLast({
      async launch(vmId: string, signal: AbortSignal) {
        const from = options.snapshotOf(vmId)
        if (from !== undefined && (await launchFrom(from, vmId, signal))) return
        const taken = options.warmOf(vmId)
        if (taken === undefined) await layDrives(await makeVmDirectory(host, vmId), disksOf(vmId), createOverlay)
        const given = taken && (await unlessAborted(taken, signal))
        if (given === undefined) {
          await vm.launch(vmId, signal)
          fresh.add(vmId)
        } else await options.stored(vmId)
        const session = sessionOf(vmId)
        const { agent } = connect(vmId, given?.agent)
        session.mounting = given?.mounted ?? mountDrives(agent, drivesOf(session.definition))
      },
      async end(vmId: string) {
        const session = sessionOf(vmId)
        restoring.delete(vmId)
        fresh.delete(vmId)
        takeGiven(session.desk)?.answer.refuse(new Error("The environment is over."))
        disconnectSession(session)
        await vm.end(vmId)
      },
    }),

    async initialise(vmId, signal) {
      const session = sessionOf(vmId)
      const begun = restoring.get(vmId)
      if (begun === undefined) return initialiseFirst(session, signal)
      restoring.delete(vmId)
      const { snapshot, isLoaded, beganAt } = begun
      try {
        const { ms, failed } = await restore(session, beganAt, options.initMs, signal)
        if (failed === undefined) snapshots?.restored(snapshot, isLoaded ? ms : undefined)
        else snapshots?.failed(snapshot, new Error(failed))
      } catch (error) {
        if (!signal.aborted) snapshots?.broke(snapshot, error)
        throw error
      }
    },

    async adopt(vmId, signal) {
      const row = await findVm(host.db, vmId)
      if (row.snapshot === "ready") {
        await host.stop(row)
        return "asleep"
      }
      const live = await host.find(row, signal)
      if (live === undefined) throw new Error("its process ended while the daemon was down")
      if ((await live.vm.status()) === "running") throw new Error("the daemon ended while it was at an event")
      const session = sessionOf(vmId)
      connect(vmId)
      session.isFrozen = true
      session.programs = "unknown"
      return "frozen"
    },

    async serve(vmId, signal) {
      const session = sessionOf(vmId)
      for (;;) {
        signal.throwIfAborted()
        const given = takeGiven(session.desk)
        if (given === undefined) {
          // Whoever has just been answered may have another at once.
          await turn()
          if (session.desk.given !== undefined) continue
          await freezeSession(session)
          await noteBeginning(vmId)
          if (session.desk.given === undefined) return null
          continue
        }
        const outcome = await serveEvent(session, given, signal)
        if (outcome.kind === "over") return outcome.ending
        if (outcome.kind !== "reset") continue
        await endPrograms(session, outcome.reason, signal)
        // AWS has it done within the next event. An emulated guest might take all of that one's time for it, and so of every one after it.
        if (!outcome.hasBegun) continue
        await initialise(session, options.initMs, signal)
        // No event waited for it, or shall pay for it.
        session.initMs = undefined
      }
    },

    async sleep(vmId, signal) {
      const session = sessionOf(vmId)
      if (await vm.sleep(vmId, signal)) {
        disconnectSession(session)
        return true
      }
      session.isFrozen = false
      if (session.connection === undefined) connect(vmId)
      await freezeSession(session)
      return false
    },

    async wake(vmId, signal) {
      const session = sessionOf(vmId)
      if (!(await vm.wake(vmId, signal))) {
        takeGiven(session.desk)?.answer.refuse(new HostFull("There is no room for it on this host now."))
        return false
      }
      connect(vmId)
      session.isFrozen = false
      return true
    },

    watch: (vmId, signal) => vm.watch(vmId, signal),

    async shutDown(vmId) {
      const session = sessionOf(vmId)
      const { connection, programs, hasExtensions } = session
      // Without extensions nobody is told: the programs are killed with their VM.
      if (connection === undefined || connection.gone.aborted || programs === "ended") return
      if (programs === "running" && !hasExtensions) return
      const signal = AbortSignal.timeout(SHUTDOWN_MS)
      await thawSession(session, signal)
      await endPrograms(session, "SPINDOWN", signal)
    },
  }
}
