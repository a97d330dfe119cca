/** Processes that stand ready: started, with the devices of their base, and loaded with nothing. */
import { rm } from "node:fs/promises"
import { changeDrives, driveChanges, rootTopChange } from "./drive-change.ts"
import { killProcess } from "./process.ts"
import { giveTo, type QemuProcesses, type Started } from "./qemu-processes.ts"
import type { LaunchSpec, Spare, SpareSpec } from "./vmm.ts"

export interface Spares {
  hold(spec: SpareSpec, started: Started): Spare
  /** What is held, with the VM's own files behind its drives; nobody holds it any more. */
  take(spare: Spare, spec: Pick<LaunchSpec, "rootDisk" | "extraDrives">): Promise<Started>
}

export const createSpares = (processes: Pick<QemuProcesses, "tidy">): Spares => {
  const held = new WeakMap<Spare, Started>()
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
    async take(spare, { rootDisk, extraDrives }) {
      const started = held.get(spare)
      if (started === undefined) throw new Error("The process that stood ready is another VM's")
      held.delete(spare)
      const { slot, rootDisk: read, overlay, extraDrives: ready } = spare.spec
      const changes = [
        ...rootTopChange(read.length, overlay, rootDisk.at(-1) ?? overlay),
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
