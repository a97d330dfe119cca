/** Processes that stand ready: started, with the devices of their base, and loaded with nothing. */
import { rm } from "node:fs/promises"
import { blockNode, rootDevice, rootNode } from "./devices.ts"
import { killProcess } from "./process.ts"
import { giveTo, type QemuProcesses, type Started } from "./qemu-processes.ts"
import type { LaunchSpec, Spare, SpareSpec } from "./vmm.ts"

export interface Spares {
  hold(spec: SpareSpec, started: Started): Spare
  /** What is held, with the VM's own file on top of its root disk; nobody holds it any more. */
  take(spare: Spare, spec: Pick<LaunchSpec, "rootDisk">): Promise<Started>
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
    async take(spare, { rootDisk }) {
      const started = held.get(spare)
      if (started === undefined) throw new Error("The process that stood ready is another VM's")
      held.delete(spare)
      const wanted = rootDisk.at(-1)
      const { overlay, slot, rootDisk: read } = spare.spec
      if (wanted === undefined || wanted.path === overlay.path) return started
      await giveTo(slot.uid, [wanted.path])
      const { qmp } = started
      const node = rootNode(read.length + 1)
      // One after the other, as QEMU does what it is told.
      await Promise.all([
        qmp.execute("blockdev-add", blockNode(node, wanted, false, rootNode(read.length - 1))),
        qmp.execute("qom-set", { path: rootDevice, property: "drive", value: node }),
        qmp.execute("blockdev-del", { "node-name": rootNode(read.length) }),
      ])
      await rm(overlay.path)
      return started
    },
  }
}
