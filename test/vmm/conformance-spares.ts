/** Processes that stand ready before their VM is known: a part of what every {@link Vmm} must do. */
import { randomBytes, randomUUID } from "node:crypto"
import { link, mkdir, readdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import { makeExt4 } from "../../images/ext4.ts"
import { openGuest } from "../../machines/vms/guest.ts"
import { rehearse } from "../../machines/vms/rehearsal.ts"
import { createAgentClient, type AgentClient } from "../../src/agent/client.ts"
import { GUEST } from "../../src/net/slot.ts"
import type { Drive, LaunchSpec, Spare, Vm } from "../../src/vmm/vmm.ts"
import { ask, identityFor, outputOf, putToSleep, type Guests } from "./guests.ts"
import { leftOf, type VmmHost } from "./vmm-host.ts"

const signal = new AbortController().signal
const DRIVE_MIB = 10 * 1024

/** Two drives that are read, one of them by an overlay. */
const drivesOf = (one: string, other: string, overlay: string): Drive[] => [
  { chain: [{ path: one, format: "raw" }], readOnly: true },
  {
    chain: [
      { path: other, format: "raw" },
      { path: overlay, format: "qcow2" },
    ],
    readOnly: true,
  },
]

/** `of` is asked inside of the tests: before them there is neither. */
export const describeSpares = (of: () => { readonly host: VmmHost; readonly guests: Guests }) => {
  const prepared = async (toDrives?: (directory: string) => Promise<Drive[]>): Promise<Spare> => {
    const { vmId, rootDisk, ...given } = await of().guests.launchSpec()
    const spec = { ...given, extraDrives: (await toDrives?.(given.directory)) ?? [] }
    const overlay = rootDisk.at(-1)
    if (overlay === undefined) throw new Error("There is no disk to write to")
    return of().host.vmm.prepare({ ...spec, id: vmId, rootDisk: rootDisk.slice(0, -1), overlay }, signal)
  }
  const rehearsed = async (): Promise<Spare> => {
    const spare = await prepared()
    const secretOf = () => randomBytes(32)
    const ownMiB = await of().host.vmm.rehearse(
      spare,
      (vm) => rehearse({ secretOf }, vm, spare.spec.slot, signal),
      signal,
    )
    expect(ownMiB).toBeGreaterThan(0)
    expect(ownMiB).toBeLessThan(spare.spec.memoryMiB / 4)
    return spare
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

    test("has other files behind its drives when it is a VM's, and nothing of those that were there", async () => {
      const { host, guests } = of()
      const { createOverlay, artifacts } = host
      const spare = await prepared(async (directory) => {
        const overlay = join(directory, "disk", "spare-1.qcow2")
        await createOverlay(overlay)
        return drivesOf(artifacts.emptyDrive, artifacts.emptyDrive, overlay)
      })
      const disk = join(spare.spec.directory, "disk")
      const names = ["one", "other"] as const
      for (const name of names) {
        await mkdir(join(host.directory, name))
        await writeFile(join(host.directory, name, "word"), `${name}\n`)
        const tree = join(host.directory, name)
        await makeExt4(join(disk, `${name}.raw`), { tree, sizeMiB: DRIVE_MIB, label: name }, signal)
      }
      const [one = "", other = "", overlay = ""] = ["one.raw", "other.raw", "own.qcow2"].map((name) => join(disk, name))
      await createOverlay(overlay)
      const extraDrives = drivesOf(one, other, overlay)
      const vm = await guests.launch({ ...specOf(spare, randomUUID()), extraDrives })
      expect((await readdir(disk)).toSorted()).toEqual(["0.qcow2", "one.raw", "other.raw", "own.qcow2"])
      const said = await asked(vm, async (agent) => {
        await agent.mountDrives(
          names.map((_, drive) => ({ drive, isReadOnly: true })),
          signal,
        )
        const mounts = names.map((name, drive) => ({
          kind: "bind" as const,
          target: `/mnt/${name}`,
          from: { drive, path: "" },
          path: "",
          copyTo: null,
        }))
        return outputOf(agent, ["cat", "/mnt/one/word", "/mnt/other/word"], { mounts })
      })
      expect(said).toEqual({ code: 0, text: "one\nother\n" })
    })

    test("may have rehearsed: its VM is as any other, alike to no sibling and to nothing that it was before", async () => {
      const { guests } = of()
      const spares = [await rehearsed(), await rehearsed()]
      expect(spares.map(({ isLoaded }) => isLoaded)).toEqual([true, true])
      const lives = await Promise.all(
        spares.map(async (spare) => {
          const spec = specOf(spare, randomUUID())
          const vm = await guests.launch(spec)
          expect(vm.process).toEqual(spare.process)
          const said = await asked(vm, (agent) =>
            outputOf(agent, ["sh", "-c", "head -c 32 /dev/urandom | sha256sum; echo /kept > /kept; cat /kept"]),
          )
          expect(said.code).toBe(0)
          return { vm, spec, said: said.text, held: await ask(spec, "get") }
        }),
      )
      const [one, other] = lives as [(typeof lives)[0], (typeof lives)[0]]
      expect(one.said).not.toBe(other.said)
      // The application goes on where the base has it, and each by itself.
      expect(one.held).toBe(other.held)
      const held = await ask(one.spec, "put here")
      expect(await ask(other.spec, "get")).toBe(one.held)

      const { spare: _, ...without } = { ...one.spec, delta: await putToSleep(one.vm, 1) }
      await guests.wake(without, 2)
      expect(await ask(one.spec, "get")).toBe(held)
    })

    test("and has rehearsed is of no use to who has a disk of its own, and no process is when it has ended", async () => {
      const { host } = of()
      const [spent, ended] = [await rehearsed(), await prepared()]
      const spec = specOf(spent, randomUUID())
      const rootDisk = [...spent.spec.rootDisk, { path: join(spec.directory, "other"), format: "qcow2" } as const]
      await expect(host.vmm.launch({ ...spec, rootDisk }, signal)).rejects.toThrow("has loaded something else")
      await spent.exited
      process.kill(ended.process.pid, "SIGKILL")
      await ended.exited
      await expect(host.vmm.launch(specOf(ended, randomUUID()), signal)).rejects.toThrow("has ended")
      expect(await host.vmm.find()).toEqual([])
      for (const { id } of [spent.process, ended.process]) expect(leftOf(id, host)).toEqual([])
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
