/** Processes that are made to stand ready for VMs of a base: started, and loaded too where one rehearses. */
import { failStart } from "./kept-qemu.ts"
import { loadGuest } from "./load.ts"
import type { LoadableBase } from "./loadable-base.ts"
import { LOADED, sharedMemory } from "./machine.ts"
import { PAGE_BYTES } from "./memory/memory-map.ts"
import type { Order, QemuProcesses, Started } from "./process/qemu-processes.ts"
import type { QemuVmParts } from "./qemu-vm.ts"
import type { HeldSpares } from "./held-spares.ts"
import type { LaunchSpec, Vm, Vmm, VmSpec } from "./vmm.ts"
import { fetchRead, fetchWritten } from "./memory/working-sets.ts"

export interface PreparingOptions {
  readonly processes: Pick<QemuProcesses, "start" | "abandon">
  readonly spares: Pick<HeldSpares, "hold" | "load">
  readonly verify: (spec: Pick<LaunchSpec, "base" | "memoryMiB" | "vcpus">) => Promise<LoadableBase>
  readonly drivesOf: (spec: Pick<LaunchSpec, "systemDisk" | "rootDisk" | "extraDrives">) => Order["drives"]
  readonly vmOf: (spec: VmSpec, started: Started, ram: QemuVmParts["ram"]) => Vm
}

/** `prepare` and `rehearse` of a {@link Vmm}. */
export const createPreparing = ({
  processes,
  spares,
  verify,
  drivesOf,
  vmOf,
}: PreparingOptions): Pick<Vmm, "prepare" | "rehearse"> => ({
  async prepare(spec, signal) {
    const { files, qemu, touched: findTouched, openMemory } = await verify(spec)
    const started = await processes
      .start(
        {
          ...spec,
          qemu,
          drives: drivesOf({ ...spec, rootDisk: [...spec.rootDisk, spec.overlay] }),
          memory: sharedMemory(spec, files.ram),
          readOnly: [files.ram, files.state],
          more: LOADED,
        },
        signal,
      )
      .catch(failStart(qemu))
    try {
      const touched = await findTouched()
      if (touched !== undefined) {
        await using memory = await openMemory(started.process)
        await fetchWritten(memory, touched)
        await fetchRead(memory, touched)
      }
      return spares.hold(spec, started)
    } catch (error) {
      await processes.abandon(spec.id, started.jailed)
      throw error
    }
  },

  async rehearse(spare, run, signal) {
    const { spec } = spare
    const { manifest, files, openMemory } = await verify(spec)
    const started = spares.load(spare)
    const { process, qmp } = started
    const { ram, state } = files
    const openOwn = () => openMemory(process)
    await loadGuest({ qmp, openMemory: openOwn, delta: undefined, touched: undefined, state }, signal)
    await run(vmOf({ ...spec, vmId: spec.id }, started, { path: ram, base: { ...spec.base, id: manifest.id } }))
    await using memory = await openOwn()
    const pages = (await memory.changed()).reduce((sum, { count }) => sum + count, 0)
    return Math.ceil((pages * PAGE_BYTES) / 1024 ** 2)
  },
})
