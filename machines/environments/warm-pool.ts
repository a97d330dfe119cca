/**
 * VMs that have been launched from a runtime's base, have run its functions of training and were stopped again: what an emulator has
 * translated is in their processes, and only the function is missing: also the `/tmp` that it will have is mounted. One for each base and
 * `/tmp` in recent use, given away once. They are this daemon's alone: the next one's sweep ends what it left.
 */
import { randomUUID } from "node:crypto"
import { join } from "node:path"
import { eq } from "drizzle-orm"
import type { RuntimeName } from "../../images/runtimes/runtimes.ts"
import { createAgentClient, type AgentClient } from "../../src/agent/client.ts"
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
import { keepDrive, layDrives, swapDrives, temporaryOverlay, type EnvironmentDisks } from "./drives.ts"
import type { RuntimeBase } from "./runtime-bases.ts"
import { rehearseFunction, warmUp } from "./warming.ts"

/** Stopped, its application frozen; its row is that of a VM which a build has, until it is an environment's. */
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

export interface WarmPool extends AsyncDisposable {
  /** One that stands on this, which is the caller's from here on, its row and its memory too; nothing when there is none. */
  take(ground: WarmGround): WarmVm | undefined
  /** Has another made, if there is none that stands on this and room for one; others go first. Returns at once. */
  fill(runtime: RuntimeName, ground: WarmGround): void
  /** How many wait. */
  readonly count: number
  /** Ends all that wait: their memory is wanted. */
  clear(): Promise<void>
}

export interface WarmPoolOptions {
  readonly host: VmHost
  readonly places: Places
  readonly emptyDrive: string
  readonly createOverlay: (path: string) => Promise<void>
  /** Told of what stands warm: who comes next finds none. */
  readonly spares?: Pick<Spares, "fillBehind">
  /** How many there are at most, and how much of the host's memory may be booked when another is made. */
  readonly maxVms: number
  readonly maxBookedShare: number
  /** How long one waits. */
  readonly idleMs: number
}

/** Others go first. */
const PREPARE_TIMEOUT_MS = 600_000

const keyOf = ({ base, temporary }: WarmGround) => `${base.baseId} ${temporary}`

/** The pool of this host; disposing ends every VM that waits. */
export const createWarmPool = (options: WarmPoolOptions): WarmPool => {
  const { host, maxVms, maxBookedShare, idleMs } = options
  const { ledger, log } = host
  /** By what they stand on. */
  const waiting = new Map<string, WarmVm>()
  const making = new Map<string, Promise<void>>()
  const closing = new AbortController()

  /** One that has been taken is nobody's to end here. */
  const remove = async (key: string, warm: WarmVm) => {
    if (waiting.get(key) !== warm) return
    waiting.delete(key)
    await end(host, warm.vm.spec.vmId)
  }

  const make = async (runtime: RuntimeName, ground: WarmGround) => {
    const { memoryMiB } = ground.base
    const key = keyOf(ground)
    const isMuch = ledger.reservedMiB + memoryMiB > ledger.capacityMiB * maxBookedShare
    if (waiting.has(key) || waiting.size + making.size >= maxVms || isMuch) return
    const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(PREPARE_TIMEOUT_MS)])
    const warm = await prepare(options, runtime, ground, signal)
    waiting.set(key, warm)
    setTimeout(() => void remove(key, warm), idleMs).unref()
    void warm.vm.exited.then(() => remove(key, warm))
  }

  const fill = (runtime: RuntimeName, ground: WarmGround) => {
    const key = keyOf(ground)
    if (closing.signal.aborted || making.has(key)) return
    const made = make(runtime, ground)
      .catch((error: unknown) => {
        if (!closing.signal.aborted) log.warn({ err: error, runtime }, "No VM could be kept warm for a runtime")
      })
      .finally(() => making.delete(key))
    making.set(key, made)
  }

  const clear = async () => {
    await Promise.all([...waiting].map(([key, warm]) => remove(key, warm)))
  }

  return {
    get count() {
      return waiting.size
    },
    take(ground) {
      const key = keyOf(ground)
      const warm = waiting.get(key)
      waiting.delete(key)
      return warm
    },
    fill,
    clear,
    async [Symbol.asyncDispose]() {
      closing.abort()
      await Promise.all(making.values())
      await clear()
    },
  }
}

/**
 * Puts a function's files behind the drives of one that was taken. Resolves with nothing where that failed: then its process is to be
 * ended, and its VM loaded from its base instead.
 */
export const giveDrives = async (
  { directoryOf, log }: Pick<VmHost, "directoryOf" | "log">,
  warm: WarmVm,
  disks: EnvironmentDisks,
): Promise<WarmVm | undefined> => {
  const { vm, temporary } = warm
  try {
    await swapDrives(vm, await layDrives(directoryOf(vm.spec.vmId), { ...disks, temporary }))
    return warm
  } catch (error) {
    log.warn({ err: error }, "A warm VM could not be given its function: it is loaded from its base instead")
    return undefined
  }
}

const end = (host: VmHost, vmId: string) =>
  host.end(vmId).catch((error: unknown) => host.log.warn({ err: error, vmId }, "A warm VM could not be ended"))

/** Launches one, has it run and stops it; what fails leaves nothing. */
const prepare = async (
  { host, places, emptyDrive, createOverlay, spares }: WarmPoolOptions,
  runtime: RuntimeName,
  { base: { baseId, memoryMiB, runtimeDrive }, temporary }: WarmGround,
  signal: AbortSignal,
): Promise<WarmVm> => {
  const { db, hostId, vmm, slots, ledger } = host
  const vmId = randomUUID()
  const [base] = await db.select().from(bases).where(eq(bases.id, baseId))
  if (base === undefined) throw new Error(`Base ${baseId} is gone`)
  await db.insert(vms).values({ id: vmId, hostId, kind: "build", baseId, memoryMiB, vcpus: VCPUS })
  try {
    if (!ledger.reserve(vmId, memoryMiB)) throw new Error("There is no room for it")
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
    spares?.fillBehind({ vm }, base, drives, "launch", (spare, within) =>
      rehearseFunction(host, spare, runtime, within),
    )
    return { vm, slot, incarnation, agent, temporary: kept }
  } catch (error) {
    await end(host, vmId)
    throw error
  }
}
