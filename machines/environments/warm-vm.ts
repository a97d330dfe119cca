/** VMs that only need a function: how one is made, and how it is given one. */
import { randomUUID } from "node:crypto"
import { join } from "node:path"
import { eq } from "drizzle-orm"
import type { RuntimeName } from "../../images/runtimes/runtimes.ts"
import { createAgentClient, type AgentClient } from "../../src/agent/client.ts"
import type { DriveSpec } from "../../src/agent/protocol.ts"
import { bases, vms } from "../../src/db/schema.ts"
import { GUEST, type Slot } from "../../src/net/slot.ts"
import type { Vm } from "../../src/vmm/vmm.ts"
import { fromPlace, toDriveFile, vmFiles, type Places } from "../disks.ts"
import { FUNCTION_DRIVES } from "../functions/disks/function-disks.ts"
import { FUNCTION_HOSTNAME } from "../functions/function-spec.ts"
import type { Spares } from "../vms/spares.ts"
import { makeVmDirectory, type VmHost } from "../vm.ts"
import { toThawInput } from "../vms/vm-life.ts"
import { recordProcess } from "../vm-row.ts"
import { VCPUS } from "./base-making.ts"
import { keepDrive, layDrives, mountDrives, swapDrives, temporaryOverlay, type EnvironmentDisks } from "./drives.ts"
import type { RuntimeBase } from "./runtime-bases.ts"
import { rehearseFunction, warmUp } from "./warming.ts"

/** Stopped, and else as an environment is between two events; its row is that of a VM which a build has, until it is an environment's. */
export interface WarmVm {
  readonly vm: Vm
  readonly slot: Slot
  readonly incarnation: number
  /** Connected already, for this life of the VM; closed when its process ends. */
  readonly agent: AgentClient
  /** What its `/tmp` stands on, by a name in its directory. */
  readonly temporary: string
}

/** What a function's VM stands on that is there before it: its base, and the file system that its `/tmp` begins as. */
export interface WarmGround {
  readonly base: RuntimeBase
  readonly temporary: string
}

/** The same with the runtime that it is trained for. */
export interface TrainedGround extends WarmGround {
  readonly runtime: RuntimeName
}

/** Why one is made, the least reason first: a function that is there may be used, one was just deployed, one was used. */
export const NEEDS = ["start", "deployment", "use"] as const
export type Need = (typeof NEEDS)[number]

export interface WarmMakingOptions {
  readonly host: VmHost
  readonly places: Places
  readonly emptyDrive: string
  readonly createOverlay: (path: string) => Promise<void>
  /** Told of what stands warm: who comes next finds none. */
  readonly spares?: Pick<Spares, "fillBehind">
}

/** Launches one, has it run and stops it; what fails leaves nothing. It fails when somebody needs its memory meanwhile. */
export const makeWarm = async (
  { host, places, emptyDrive, createOverlay, spares }: WarmMakingOptions,
  { runtime, base: { baseId, memoryMiB, runtimeDrive }, temporary }: TrainedGround,
  need: Need,
  wanted: AbortSignal,
): Promise<WarmVm> => {
  const { db, hostId, vmm, slots, ledger } = host
  const vmId = randomUUID()
  const unneeded = new AbortController()
  const signal = AbortSignal.any([wanted, unneeded.signal])
  const [base] = await db.select().from(bases).where(eq(bases.id, baseId))
  if (base === undefined) throw new Error(`Base ${baseId} is gone`)
  await db.insert(vms).values({ id: vmId, hostId, kind: "build", baseId, memoryMiB, vcpus: VCPUS })
  try {
    if (!ledger.reserve(vmId, memoryMiB)) throw new Error("There is no room for it")
    const keep = ledger.offer(vmId, () => unneeded.abort(new Error("Its memory is needed")))
    const directory = await makeVmDirectory(host, vmId)
    const [root, written] = [vmFiles(directory).overlay(0), temporaryOverlay(directory)]
    const [kept] = await Promise.all([
      keepDrive(directory, "temporary", temporary),
      createOverlay(root),
      createOverlay(written),
    ])
    const slot = await slots.take(signal)
    const { incarnation } = await host.begin(vmId, slot)
    const drives = Object.values(FUNCTION_DRIVES).map(() => ({ chain: [toDriveFile(emptyDrive)], readOnly: true }))
    // It has the functions of training, too.
    for (const drive of [FUNCTION_DRIVES.runtime, FUNCTION_DRIVES.code])
      drives[drive] = { chain: [toDriveFile(runtimeDrive ?? emptyDrive)], readOnly: true }
    drives[FUNCTION_DRIVES.temporary] = { chain: [kept, written].map(toDriveFile), readOnly: false }
    const vm = await vmm.launch(
      {
        vmId,
        slot,
        directory,
        memoryMiB,
        vcpus: VCPUS,
        base: { directory: join(places.dataDirectory, "bases", baseId) },
        systemDisk: fromPlace(places, base.systemDisk),
        rootDisk: [...base.rootDisk.map((place) => fromPlace(places, place)), root].map(toDriveFile),
        extraDrives: drives,
      },
      signal,
    )
    await recordProcess(db, vmId, vm.process, false)
    const identity = toThawInput(host, { vm, incarnation }, FUNCTION_HOSTNAME)
    const agent = createAgentClient(slot.address, GUEST.agentPort, identity.secret)
    void vm.exited.then(() => agent.close())
    await warmUp({ vm, agent, identity }, runtime, signal)
    drives[FUNCTION_DRIVES.temporary] = { chain: [temporary, written].map(toDriveFile), readOnly: false }
    signal.throwIfAborted()
    keep()
    spares?.fillBehind({ vm }, base, drives, {
      purpose: "launch",
      rehearsal: (spare, within) => rehearseFunction(host, spare, runtime, within),
      isExpected: need === "start",
    })
    return { vm, slot, incarnation, agent, temporary: kept }
  } catch (error) {
    await host.end(vmId)
    throw error
  }
}

/** For what precedes a function's programs. */
const GIVING_MS = 30_000

/** A VM that runs and has a function's files. */
export interface GivenVm {
  readonly agent: AgentClient
  /** Settled when its agent has mounted them; what it is told next it does behind that. */
  readonly mounted: Promise<void>
}

/**
 * Lets one that was taken run, with the time that it is now, puts a function's files behind its drives and has them mounted: the host holds
 * it from then on. Resolves with nothing where that failed: then its process is to be ended, and its VM loaded from its base instead.
 */
export const giveDrives = async (
  host: VmHost,
  { vm, slot, incarnation, agent, temporary }: WarmVm,
  disks: EnvironmentDisks,
  drives: readonly DriveSpec[],
): Promise<GivenVm | undefined> => {
  const signal = AbortSignal.timeout(GIVING_MS)
  // It has its `/tmp`.
  const missing = drives.filter(({ drive }) => drive !== FUNCTION_DRIVES.temporary)
  const catchUp = async () => {
    const live = await host.hold(vm, slot, incarnation, signal, true)
    await live.guest.setClock(signal)
  }
  const mount = async () => {
    await swapDrives(vm, await layDrives(host.directoryOf(vm.spec.vmId), { ...disks, temporary }))
    return { agent, mounted: mountDrives(agent, missing) }
  }
  try {
    const [given] = await Promise.all([mount(), vm.continue(), catchUp()])
    return given
  } catch (error) {
    host.log.warn({ err: error }, "A warm VM could not be given its function: it is loaded from its base instead")
    return undefined
  }
}
