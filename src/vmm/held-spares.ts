/** Processes that stand ready: started, with the devices of their base, and loaded with nothing, or with a guest that has run already. */
import { rm } from "node:fs/promises"
import { changeDrives, driveChanges, rootTopChange } from "./qmp/drive-change.ts"
import { killProcess } from "./process/process.ts"
import { giveTo, type QemuProcesses, type Started } from "./process/qemu-processes.ts"
import type { LaunchSpec, Spare, SpareSpec } from "./vmm.ts"

export interface HeldSpares {
  hold(spec: SpareSpec, started: Started): Spare
  /** What is held, and stays so: its base is loaded from here on. */
  load(spare: Spare): Started
  /** What is held, with the VM's own files behind its drives; nobody holds it any more. */
  take(spare: Spare, spec: Pick<LaunchSpec, "rootDisk" | "extraDrives" | "delta">): Promise<Started>
}

export const createHeldSpares = (processes: Pick<QemuProcesses, "tidy">): HeldSpares => {
  const held = new WeakMap<Spare, Started>()
  const loaded = new WeakSet<Spare>()
  const find = (spare: Spare): Started => {
    const started = held.get(spare)
    if (started === undefined) throw new Error("The process that stood ready is another VM's")
    if (started.qmp.closed) throw new Error("The process that stood ready has ended")
    return started
  }
  return {
    hold(spec, started) {
      const { process, qmp, jailed } = started
      const exited = (async () => {
        await new Promise<void>((resolve) => (qmp.closed ? resolve() : qmp.once("close", () => resolve())))
        await jailed.ended
      })()
      const spare: Spare = {
        process,
        spec,
        exited,
        get isLoaded() {
          return loaded.has(spare)
        },
        async kill() {
          await killProcess(process)
          qmp.close()
          await jailed.ended
          await processes.tidy(process.id)
        },
      }
      held.set(spare, started)
      return spare
    },
    load(spare) {
      const started = find(spare)
      loaded.add(spare)
      return started
    },
    async take(spare, { rootDisk, extraDrives, delta }) {
      const started = find(spare)
      held.delete(spare)
      const { slot, rootDisk: read, overlay, extraDrives: ready } = spare.spec
      const rootChanges = rootTopChange(read.length, overlay, rootDisk.at(-1) ?? overlay)
      if (spare.isLoaded && (delta !== undefined || rootChanges.length > 0))
        throw new Error("The process that stood ready has loaded something else")
      const changes = [
        ...rootChanges,
        ...extraDrives.flatMap((wanted, drive) => driveChanges(drive, ready[drive], wanted)),
      ]
      const written = changes.flatMap((change) => change.written ?? [])
      await giveTo(
        slot.uid,
        written.map(({ now }) => now),
      )
      await changeDrives(started.qmp, changes)
      await Promise.all(written.map(({ before }) => rm(before)))
      return started
    },
  }
}
