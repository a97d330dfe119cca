/**
 * The VMs of this host while they have a process: what every kind of VM shares, whatever statechart owns it.
 * Files of a VM: `vms/<id>/disk/<generation>.qcow2` (its overlay), `delta-<incarnation>` and `state-<incarnation>` (its memory asleep).
 * A process that stood ready has a directory of its own beside them, with links to those that it needs.
 */
import { mkdir, rm } from "node:fs/promises"
import { join } from "node:path"
import type { ProcessEnd } from "../src/agent/protocol.ts"
import type { Ledger } from "../src/capacity/ledger.ts"
import type { Cause } from "../src/db/values.ts"
import type { Log } from "../src/log.ts"
import type { LogStream } from "../src/logs/entry.ts"
import type { Logs } from "../src/logs/logs.ts"
import type { LogWriter } from "../src/logs/writer.ts"
import type { Slot } from "../src/net/slot.ts"
import type { Slots } from "../src/net/slots.ts"
import type { Vm, VmProcess, Vmm } from "../src/vmm/vmm.ts"
import { openGuest, type Guest } from "./vms/guest.ts"
import { hearLastWords } from "./vms/last-words.ts"
import { beginIncarnation, findVm, processOf, recordEnd, recordStopped, type Database, type VmRow } from "./vm-row.ts"

/** A VM with a process, held by its owner's statechart. */
export interface LiveVm {
  readonly vm: Vm
  readonly slot: Slot
  readonly guest: Guest
  /** What the application says goes there. */
  readonly words: LogWriter
  /** Hears it too, from now on. */
  listen(onOutput: OnOutput): void
  readonly incarnation: number
  /** Resolves when the application or the process has ended by itself, with the cause. */
  readonly ended: Promise<Ending>
  /** Whether it has. */
  readonly isOver: () => boolean
  /** Whether its application may have said anything: its guest was thawed, by this daemon or an earlier one. */
  readonly hasRun: () => boolean
}

type OnOutput = (stream: LogStream, text: string) => void

export interface Ending {
  readonly cause: Cause
  readonly reason: string
}

/** What a VM has on its host while it runs, as its row says. */
export type Standing = Pick<VmRow, "id" | "slot" | "processId" | "pid" | "processStartTime">

export interface VmHostOptions {
  readonly db: Database
  readonly hostId: string
  readonly dataDirectory: string
  readonly vmm: Vmm
  readonly slots: Slots
  readonly ledger: Ledger
  readonly logs: Logs
  readonly log: Log
  /** The same secret for the same life of a VM, so that nobody has to store it. 32 bytes. */
  readonly secretOf: (vmId: string, incarnation: number) => Buffer
}

export interface VmHost extends VmHostOptions {
  live(vmId: string): LiveVm | undefined
  /** Of a VM, or of a process with an id of its own. */
  directoryOf(id: string): string
  removeDirectoryOf(id: string): Promise<void>
  /** Begins another life of a VM in a slot, which is the VM's from here on, also where this rejects: {@link VmHost.stop} gives it back. */
  begin(vmId: string, slot: Slot, process?: VmProcess): Promise<VmRow>
  /** Connects to the guest of a process and holds both from here on; `hasRun`: it was thawed before. */
  hold(vm: Vm, slot: Slot, incarnation: number, signal: AbortSignal, hasRun?: boolean): Promise<LiveVm>
  /** The live VM of a row, taken over from an earlier daemon when this one doesn't hold it yet; `undefined` when its process is gone. */
  find(row: VmRow, signal: AbortSignal): Promise<LiveVm | undefined>
  /** The same process in another life of its VM. */
  renew(live: LiveVm, incarnation: number): LiveVm
  /** Nothing of this daemon is connected to the VM's guest when it resolves; process and slot stay the VM's. */
  letGo(vmId: string): Promise<void>
  /** Ends a process, if it still lives; what else of it cannot be removed is logged. */
  destroy(process: VmProcess): Promise<void>
  /** No process and no slot when it resolves; files stay. Idempotent: who comes while a VM is being stopped waits for that. */
  stop(row: Standing): Promise<void>
  /** Nothing of the VM is left on this host when it resolves. Idempotent. */
  end(vmId: string): Promise<void>
}

/** The host's VMs; holds no process of its own when nothing is live. */
export const createVmHost = (options: VmHostOptions): VmHost => {
  const { db, dataDirectory, vmm, slots, ledger, logs, log } = options
  const held = new Map<string, LiveVm>()
  /** The slots of this daemon's VMs, from the beginning of a life to its end. */
  const given = new Map<string, Slot>()
  const stopping = new Map<string, Promise<void>>()

  const slotOf = async ({ id, slot }: Standing): Promise<Slot | undefined> =>
    given.get(id) ?? (slot === null ? undefined : slots.adopt(slot))

  const stop = async (row: Standing) => {
    const live = held.get(row.id)
    live?.guest.close()
    held.delete(row.id)
    const process = processOf(row)
    const stood = given.has(row.id)
    try {
      if (live !== undefined) await Promise.all([live.vm.kill(), live.words.close()])
      if (process !== undefined) await host.destroy(process)
      for (const id of new Set([live?.vm.process.id, process?.id]))
        if (id !== undefined && id !== row.id) await host.removeDirectoryOf(id)
    } finally {
      const slot = await slotOf(row)
      given.delete(row.id)
      if (slot !== undefined) slots.retire(slot)
      ledger.release(row.id)
    }
    // A row that names a slot keeps it from the sweep: from here on it may be another VM's.
    if (stood || process !== undefined || row.slot !== null) await recordStopped(db, row.id)
  }

  const host: VmHost = {
    ...options,
    live: (vmId) => held.get(vmId),
    directoryOf: (id) => join(dataDirectory, "vms", id),
    removeDirectoryOf: (id) => rm(host.directoryOf(id), { recursive: true, force: true }),
    begin(vmId, slot, process) {
      given.set(vmId, slot)
      return beginIncarnation(db, vmId, slot.index, process)
    },
    async hold(vm, slot, incarnation, signal, hasRun = false) {
      given.set(vm.spec.vmId, slot)
      const words = logs.writer(vm.spec.vmId)
      const listeners: OnOutput[] = [words.add]
      const onOutput: OnOutput = (stream, text) => listeners.forEach((listener) => listener(stream, text))
      const guest = await openGuest(vm.ports, signal, onOutput).catch(async (error: unknown) => {
        await words.close()
        throw error
      })
      const ended = firstEnding(vm, guest)
      let over = false
      void ended.then(() => (over = true))
      const listen = (listener: OnOutput) => void listeners.push(listener)
      let thawed = hasRun
      const thaw: Guest["thaw"] = async (input, thawSignal) => {
        await guest.thaw(input, thawSignal)
        thawed = true
      }
      const live: LiveVm = {
        vm,
        slot,
        guest: { ...guest, thaw },
        words,
        listen,
        incarnation,
        ended,
        isOver: () => over,
        hasRun: () => thawed,
      }
      held.set(vm.spec.vmId, live)
      return live
    },
    async find(row, signal) {
      const known = held.get(row.id)
      if (known !== undefined) return known
      const process = processOf(row)
      if (process === undefined) return undefined
      const slot = await slotOf(row)
      if (slot === undefined) return undefined
      const directory = host.directoryOf(process.id)
      const base = { directory: join(dataDirectory, "bases", row.baseId ?? "") }
      const vm = await vmm.adopt(
        process,
        { vmId: row.id, slot, directory, base, memoryMiB: row.memoryMiB, vcpus: row.vcpus },
        signal,
      )
      if (vm === undefined) return undefined
      ledger.reserve(row.id, row.memoryMiB)
      log.info({ vmId: row.id, pid: process.pid }, "Took over a running VM")
      return host.hold(vm, slot, row.incarnation, signal, true)
    },
    renew(live, incarnation) {
      const renewed = { ...live, incarnation }
      held.set(live.vm.spec.vmId, renewed)
      return renewed
    },
    async letGo(vmId) {
      const live = held.get(vmId)
      held.delete(vmId)
      live?.guest.close()
      await live?.words.close()
    },
    async destroy(process) {
      await vmm.destroy(process).catch((error: unknown) => {
        log.warn({ processId: process.id, err: error }, "Not all of a VM's process could be removed")
      })
    },
    stop(row) {
      const earlier = stopping.get(row.id)?.catch(() => {}) ?? Promise.resolve()
      const stopped = earlier
        .then(() => stop(row))
        .finally(() => {
          if (stopping.get(row.id) === stopped) stopping.delete(row.id)
        })
      stopping.set(row.id, stopped)
      return stopped
    },
    async end(vmId) {
      await hearLastWords(host, vmId)
      await host.stop(await findVm(db, vmId))
      await logs.end(vmId)
      await host.removeDirectoryOf(vmId)
      await recordEnd(db, vmId)
    },
  }
  return host
}

/** Whichever is known first: the application's own end says more than the process's. */
const firstEnding = (vm: Vm, guest: Guest): Promise<Ending> =>
  Promise.race([
    guest.mainExited.then((how): Ending => ({ cause: "exit", reason: reasonOf(how) })),
    vm.exited.then(({ byGuest, reason }): Ending =>
      byGuest
        ? { cause: "exit", reason: "The guest powered off." }
        : { cause: "host", reason: `The virtual machine's process ended: ${reason}` },
    ),
  ])

const reasonOf = ({ code, signal, outOfMemory }: ProcessEnd): string => {
  if (outOfMemory) return "The application ran out of memory and was ended."
  return signal === null ? `The application exited with code ${code}.` : `The application was ended by ${signal}.`
}

/** Makes the directory of a VM that has none yet. */
export const makeVmDirectory = async (host: Pick<VmHost, "directoryOf">, vmId: string): Promise<string> => {
  const directory = host.directoryOf(vmId)
  await mkdir(join(directory, "disk"), { recursive: true, mode: 0o700 })
  return directory
}
