/** Sleep in memory, its ways into sleep on disk, and wakes from both: with a real database and real ports, and no process at all. */
import { randomUUID } from "node:crypto"
import { existsSync } from "node:fs"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pino } from "pino"
import { Registry as Metrics } from "prom-client"
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest"
import { createLightSleep, type LightSleepOptions } from "../../machines/vms/light-sleep.ts"
import { createVmHost } from "../../machines/vm.ts"
import { createVmVerbs } from "../../machines/vms/vm-life.ts"
import { findVm } from "../../machines/vm-row.ts"
import { createLedger, VMM_OVERHEAD_MIB } from "../../src/capacity/ledger.ts"
import { registerHost } from "../../src/db/identity.ts"
import { vms } from "../../src/db/schema.ts"
import { createLogs } from "../../src/logs/logs.ts"
import type { Slot } from "../../src/net/slot.ts"
import type { Slots } from "../../src/net/slots.ts"
import type { DeltaPaths, LaunchSpec, Vm, VmExit, Vmm } from "../../src/vmm/vmm.ts"
import { openGuestPort, type GuestPort } from "../agent/guest-port.ts"
import { insertBase } from "../db/base-row.ts"
import { openTestDatabase, type TestDatabase } from "../db/database.ts"

const MiB = 2 ** 20
const MEMORY_MIB = 128
const NEEDED_MIB = MEMORY_MIB + VMM_OVERHEAD_MIB
const signal = AbortSignal.timeout(600_000)

let database: TestDatabase
beforeAll(async () => void (database = await openTestDatabase()))
afterAll(() => database?.[Symbol.asyncDispose]())

/** A guest that does all it is asked on its thaw port, until that is closed. */
const obey = async ({ host, lines }: GuestPort, asked: (command: string) => void) => {
  const socket = await host
  for await (const line of { [Symbol.asyncIterator]: () => lines }) {
    const [number = "", command = ""] = line.split(" ")
    asked(command)
    socket.write(`${number} OK\n`)
  }
}

/** A process of a VM, by what was done to it since its launch. */
interface Process {
  readonly pid: number
  readonly hasDelta: boolean
  readonly done: string[]
  status: "running" | "paused"
  die(): void
}

const openGround = async (limits: Partial<Omit<LightSleepOptions, "host" | "metrics">> = {}) => {
  const opened = new AsyncDisposableStack()
  onTestFinished(() => opened.disposeAsync())
  const { db } = database
  const hostId = randomUUID()
  await registerHost(db, hostId, "here")
  const dataDirectory = await mkdtemp(join(tmpdir(), "torpor-light-"))
  opened.defer(() => rm(dataDirectory, { recursive: true, force: true }))
  const log = pino({ level: "silent" })
  const processes: Process[] = []
  const slotsOut = new Set<number>()
  const offers = new Map<number, () => Promise<void>>()
  let slotCount = 0

  const launch = async (spec: LaunchSpec): Promise<Vm> => {
    const [thaw, agent] = [opened.use(await openGuestPort()), opened.use(await openGuestPort())]
    const exited = Promise.withResolvers<VmExit>()
    const die = () => exited.resolve({ byGuest: false, reason: "it was killed" })
    const process: Process = {
      pid: processes.length,
      hasDelta: spec.delta !== undefined,
      done: [],
      status: "paused",
      die,
    }
    processes.push(process)
    void obey(thaw, (command) => process.done.push(command)).catch(() => {})
    const becomes = (status: Process["status"], what: string) => async () => {
      process.done.push(what)
      process.status = status
    }
    return {
      spec,
      process: { id: spec.vmId, pid: process.pid, startTime: 1 },
      ports: { thaw: thaw.path, agent: agent.path },
      exited: exited.promise,
      pause: becomes("paused", "stop"),
      continue: becomes("running", "cont"),
      status: () => Promise.resolve(process.status),
      async saveDelta({ file, state }: DeltaPaths) {
        await Promise.all([writeFile(file, ""), writeFile(state, "")])
      },
      async kill() {
        process.done.push("kill")
        die()
      },
    } as unknown as Vm
  }
  const ledger = createLedger(3 * NEEDED_MIB)
  const host = createVmHost({
    db,
    hostId,
    dataDirectory,
    vmm: { launch, destroy: () => Promise.resolve() } as unknown as Vmm,
    slots: {
      async take() {
        slotsOut.add(++slotCount)
        return { index: slotCount } as Slot
      },
      adopt: () => Promise.resolve(undefined),
      retire: ({ index }: Slot) => slotsOut.delete(index),
      offer({ index }: Slot, giveUp: () => Promise<void>) {
        offers.set(index, giveUp)
        return () => offers.delete(index)
      },
    } as unknown as Slots,
    ledger,
    logs: createLogs({ db, hostId, limits: { bytesPerLog: MiB, bytesPerGroup: MiB, bytesPerHost: MiB, days: 1 }, log }),
    log,
    secretOf: () => Buffer.alloc(32),
  })
  const metrics = new Metrics()
  const lightSleep = createLightSleep({ host, max: 2, maxMemoryShare: 1, keptMs: 3_600_000, metrics, ...limits })
  opened.use(lightSleep)
  const verbs = createVmVerbs({
    host,
    places: { cacheDirectory: dataDirectory, dataDirectory },
    createOverlay: (path) => writeFile(path, ""),
    lightSleep,
    stored: () => Promise.resolve(),
  })
  await writeFile(join(dataDirectory, "system.ext4"), "")
  const size = { memoryMiB: MEMORY_MIB, vcpus: 1 }
  const baseId = await insertBase(db, { hostId, ...size, systemDisk: "data:system.ext4" })
  /** A VM that has run, and its process. */
  const launched = async () => {
    const vmId = randomUUID()
    await db.insert(vms).values({ id: vmId, hostId, kind: "microvm", baseId, ...size })
    await verbs.launch(vmId, signal)
    const process = processes.at(-1)
    if (process === undefined) throw new Error("Nothing was launched")
    return { vmId, process, row: () => findVm(db, vmId), directory: host.directoryOf(vmId) }
  }
  const asleep = async () => {
    const vm = await launched()
    expect(await verbs.sleep(vm.vmId, signal)).toBe(true)
    return vm
  }
  /** How many were woken from memory, and from disk. */
  const wakes = async () => {
    const values = (await metrics.getSingleMetric("torpor_microvm_wakes_total")?.get())?.values ?? []
    const of = (from: string) => values.find(({ labels }) => labels["from"] === from)?.value ?? 0
    return [of("memory"), of("disk")]
  }
  return { db, host, ledger, verbs, lightSleep, processes, slotsOut, offers, launched, asleep, wakes }
}

/** What a sleep makes of a process that a launch has begun. */
const SLEPT = ["cont", "T", "F", "stop"]
/** What a process went through whose sleep became one on disk alone. */
const isGone = ({ done }: Process) => expect.poll(() => done.at(-1)).toBe("kill")

test("A VM wakes in the process in which it slept, in another life, and its snapshot is used up", async () => {
  const { verbs, processes, slotsOut, ledger, asleep, wakes } = await openGround()
  const { vmId, process, row, directory } = await asleep()
  const before = await row()
  // To whoever looks at it, it sleeps as any other.
  expect(before).toMatchObject({ snapshot: "ready", snapshotIncarnation: 1, slot: null, processId: null, pid: null })
  expect([process.status, slotsOut.size, ledger.reservedMiB]).toEqual(["paused", 1, 0])
  for (let lives = 2; lives <= 3; lives++) {
    expect(await verbs.wake(vmId, signal)).toBe(true)
    expect(await row()).toMatchObject({ snapshot: "consumed", incarnation: lives, slot: 1, processId: vmId, pid: 0 })
    expect(existsSync(join(directory, `delta-${lives - 1}`))).toBe(false)
    expect([process.status, ledger.reservedMiB]).toEqual(["running", NEEDED_MIB])
    expect(await verbs.sleep(vmId, signal)).toBe(true)
    expect(existsSync(join(directory, `delta-${lives}`))).toBe(true)
  }
  expect(processes).toHaveLength(1)
  expect(await wakes()).toEqual([2, 0])
  await verbs.end(vmId)
  expect([process.done.at(-1), slotsOut.size, ledger.reservedMiB, existsSync(directory)]).toEqual(["kill", 0, 0, false])
})

test.for([
  ["there are more than may be kept", { max: 1 }],
  ["they have more memory than they may", { maxMemoryShare: 0.5 }],
] as const)("Where %s, the longest asleep goes on sleeping on disk", async ([, limits]) => {
  const { asleep, verbs, processes, wakes } = await openGround(limits)
  const [first, second] = [await asleep(), await asleep()]
  await isGone(first.process)
  expect(second.process.done).not.toContain("kill")
  expect(await verbs.wake(first.vmId, signal)).toBe(true)
  expect(await verbs.wake(second.vmId, signal)).toBe(true)
  expect(processes.map(({ hasDelta }) => hasDelta)).toEqual([false, false, true])
  expect(await wakes()).toEqual([1, 1])
})

test("Where memory is needed, the longest asleep give theirs, and no more of them than must", async () => {
  const { asleep, ledger, verbs, wakes } = await openGround()
  const [first, second] = [await asleep(), await asleep()]
  expect(ledger.reserve("another", MEMORY_MIB)).toBe(true)
  expect(ledger.reserve("one too large", 3 * NEEDED_MIB)).toBe(false)
  expect(ledger.reserve("yet another", MEMORY_MIB)).toBe(true)
  await isGone(first.process)
  expect(second.process.done).not.toContain("kill")
  // Nor is one woken for which there is no room, until there is.
  expect(await verbs.wake(second.vmId, signal)).toBe(true)
  expect(await verbs.wake(first.vmId, signal)).toBe(false)
  ledger.release("another")
  expect(await verbs.wake(first.vmId, signal)).toBe(true)
  expect(await wakes()).toEqual([1, 1])
})

test("Where a slot is needed, it is given back when that is known", async () => {
  const { asleep, offers, slotsOut, verbs } = await openGround()
  const { vmId, process } = await asleep()
  await offers.get(1)?.()
  expect([process.done.at(-1), slotsOut.size, offers.size]).toEqual(["kill", 0, 0])
  expect(await verbs.wake(vmId, signal)).toBe(true)
  expect([...slotsOut]).toEqual([2])
})

test("After a while a VM sleeps on disk alone; a wake at that moment waits for the end of its process", async () => {
  const { launched, host, verbs, processes } = await openGround({ keptMs: 1 })
  const { vmId, process } = await launched()
  const exit = Promise.withResolvers<void>()
  const live = host.live(vmId)
  if (live === undefined) throw new Error("It is not held")
  const killed = Promise.withResolvers<void>()
  const kill = live.vm.kill.bind(live.vm)
  live.vm.kill = async (): Promise<void> => {
    killed.resolve()
    await exit.promise
    await kill()
  }
  expect(await verbs.sleep(vmId, signal)).toBe(true)
  await killed.promise
  const woken: Promise<boolean> = verbs.wake(vmId, signal)
  await new Promise((resolve) => setImmediate(resolve))
  expect(processes).toHaveLength(1)
  exit.resolve()
  expect(await woken).toBe(true)
  expect(process.done).toEqual([...SLEPT, "kill"])
  expect(processes[1]).toMatchObject({ hasDelta: true, status: "running" })
})

test.for([
  ["has ended", (process: Process): void => process.die()],
  ["runs", (process: Process): void => void (process.status = "running")],
] as const)("A VM whose kept process %s wakes from disk, and that process is no more", async ([, spoil]) => {
  const { asleep, verbs, processes, slotsOut, wakes } = await openGround()
  const { vmId, process } = await asleep()
  spoil(process)
  expect(await verbs.wake(vmId, signal)).toBe(true)
  expect(process.done).toEqual([...SLEPT, "kill"])
  expect(processes[1]).toMatchObject({ hasDelta: true, status: "running" })
  expect([...slotsOut]).toEqual([2])
  expect(await wakes()).toEqual([0, 1])
})

test("A host that is closed keeps no process", async () => {
  const { asleep, launched, lightSleep, verbs, slotsOut } = await openGround()
  const { process, row } = await asleep()
  const late = await launched()
  await lightSleep[Symbol.asyncDispose]()
  expect(process.done.at(-1)).toBe("kill")
  expect(await verbs.sleep(late.vmId, signal)).toBe(true)
  expect(late.process.done.at(-1)).toBe("kill")
  expect(slotsOut.size).toBe(0)
  expect(await row()).toMatchObject({ snapshot: "ready", slot: null })
})
