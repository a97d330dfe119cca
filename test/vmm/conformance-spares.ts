/** Processes that stand ready before their VM is known: a part of what every {@link Vmm} must do. */
import { randomUUID } from "node:crypto"
import { link, readdir } from "node:fs/promises"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import { openGuest } from "../../machines/guest.ts"
import { createAgentClient, type AgentClient } from "../../src/agent/client.ts"
import { GUEST } from "../../src/net/slot.ts"
import type { LaunchSpec, Spare, Vm } from "../../src/vmm/vmm.ts"
import { ask, identityFor, outputOf, putToSleep, type Guests } from "./guests.ts"
import { leftOf, type VmmHost } from "./vmm-host.ts"

const signal = new AbortController().signal

/** `of` is asked inside of the tests: before them there is neither. */
export const describeSpares = (of: () => { readonly host: VmmHost; readonly guests: Guests }) => {
  const prepared = async (): Promise<Spare> => {
    const { vmId, rootDisk, ...spec } = await of().guests.launchSpec()
    const overlay = rootDisk.at(-1)
    if (overlay === undefined) throw new Error("There is no disk to write to")
    return of().host.vmm.prepare({ ...spec, id: vmId, rootDisk: rootDisk.slice(0, -1), overlay }, signal)
  }
  const specOf = (spare: Spare, vmId: string): LaunchSpec => {
    const { id: _, overlay, rootDisk, ...spec } = spare.spec
    return { ...spec, vmId, rootDisk: [...rootDisk, overlay], extraDrives: [], spare }
  }
  const asked = async <Answer>(vm: Vm, use: (agent: AgentClient) => Promise<Answer>): Promise<Answer> => {
    const identity = identityFor(vm.spec.vmId, 1)
    const guest = await openGuest(vm.ports, signal)
    const agent = createAgentClient(vm.spec.slot.address, GUEST.agentPort, identity.secret)
    try {
      await vm.continue()
      await guest.thaw(identity, signal)
      return await use(agent)
    } finally {
      agent.close()
      guest.close()
    }
  }

  describe("A process that stands ready", () => {
    test("becomes a VM, and another one becomes the same VM after its sleep, with its memory and its disk", async () => {
      const { host, guests } = of()
      const vmId = randomUUID()
      const first = await prepared()
      expect(await host.vmm.find()).toEqual([first.process])
      let spec = specOf(first, vmId)
      let vm = await guests.launch(spec)
      expect(vm.process).toEqual(first.process)
      const written = await asked(vm, (agent) =>
        outputOf(agent, ["sh", "-c", "head -c 300000 /dev/urandom > /kept; sha256sum /kept"]),
      )
      expect(written.code).toBe(0)
      const held = await ask(spec, "put here")
      const delta = await putToSleep(vm, 1)
      expect(leftOf(first.process.id, host)).toEqual([])

      const second = await prepared()
      const [overlay, state] = [join(second.spec.directory, "disk", "vm.qcow2"), join(second.spec.directory, "state")]
      await link(first.spec.overlay.path, overlay)
      await link(delta.state, state)
      const rootDisk = [...second.spec.rootDisk, { path: overlay, format: "qcow2" } as const]
      spec = { ...specOf(second, vmId), rootDisk, delta: { ...delta, state } }
      vm = await guests.launch(spec)
      expect(await readdir(join(second.spec.directory, "disk"))).toEqual(["vm.qcow2"])
      const found = await asked(vm, (agent) => outputOf(agent, ["sha256sum", "/kept"]))
      expect(found).toEqual(written)
      expect(await ask(spec, "get")).toBe(held)

      const { spare: _, ...without } = { ...spec, delta: await putToSleep(vm, 2) }
      await guests.wake(without, 3)
      expect(await ask(spec, "get")).toBe(held)
    })

    test("is ended by who has it, and ends with a launch that fails; given away it is nobody else's", async () => {
      const { host } = of()
      const [kept, spent] = [await prepared(), await prepared()]
      const wrong = { ...specOf(spent, randomUUID()), memoryMiB: 256 }
      await expect(host.vmm.launch(wrong, signal)).rejects.toThrow("made with memoryMiB '512'")
      await spent.exited
      expect(leftOf(spent.process.id, host)).toEqual([])
      await expect(host.vmm.launch(specOf(spent, randomUUID()), signal)).rejects.toThrow()
      expect(await host.vmm.find()).toEqual([kept.process])
      await kept.kill()
      await kept.kill()
      expect(leftOf(kept.process.id, host)).toEqual([])
    })
  })
}
