/** What every {@link Vmm} must do, with real guests: each implementation is put through all of it. */
import { createHash, randomUUID } from "node:crypto"
import { chmod, chown, copyFile, cp, readFile, rename, rm, stat, truncate, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest"
import { openGuest } from "../../machines/vms/guest.ts"
import { openDelta } from "../../src/vmm/memory/delta.ts"
import { baseFiles, digestOf, SnapshotRefused, type Manifest } from "../../src/vmm/manifest.ts"
import type { LaunchSpec, VmProcess } from "../../src/vmm/vmm.ts"
import { describeLeftovers } from "./conformance-leftovers.ts"
import { describeSpares } from "./conformance-spares.ts"
import { launchedByEarlierDaemon } from "./earlier-daemon.ts"
import { ask, command, createGuests, identityFor, outputOf, runGuest, type Guests } from "./guests.ts"
import { leftOf, openVmmHost, type CreateVmm, type VmmHost } from "./vmm-host.ts"

const signal = new AbortController().signal
const sha256 = (bytes: string | Buffer) => createHash("sha256").update(bytes).digest("hex")

/** Puts an implementation through all of it; `module` is the URL of what exports it as `createVmm`, for a daemon of its own. */
export const describeVmm = (name: string, createVmm: CreateVmm, module: string) => {
  describe(name, () => {
    let host: VmmHost
    let guests: Guests

    beforeAll(async () => {
      host = await openVmmHost(createVmm)
      guests = await createGuests(host)
    })
    afterEach(() => guests.endAll())
    afterAll(() => host?.[Symbol.asyncDispose]())

    describe("A guest that is booted", () => {
      test("says hello, stands still while it is paused, seals its disk, and is known to have reset itself", async () => {
        const spec = await guests.bootSpec()
        const { vm, agent } = await guests.boot(spec)
        expect(await vm.status()).toBe("running")
        expect(await host.vmm.find()).toEqual([vm.process])

        await vm.pause()
        expect(await vm.status()).toBe("paused")
        await vm.continue()
        expect(await vm.status()).toBe("running")
        expect(await outputOf(agent, ["sh", "-c", "echo one > /one; sync; uname -s"])).toEqual({
          code: 0,
          text: "Linux\n",
        })

        const next = join(spec.directory, "disk", "1.qcow2")
        await host.createOverlay(next)
        await chown(next, spec.slot.uid, spec.slot.uid)
        await agent.freezeDisk(signal)
        await vm.sealRootDisk({ path: next, format: "qcow2" })
        await agent.thawDisk(signal)
        const [sealed, { blocks }] = [await digestOf(spec.overlay), await stat(next)]
        expect((await outputOf(agent, ["sh", "-c", "echo two > /two; sync; cat /one /two"])).text).toBe("one\ntwo\n")
        expect(await digestOf(spec.overlay)).toBe(sealed)
        expect((await stat(next)).blocks).toBeGreaterThan(blocks)

        const last = join(spec.directory, "disk", "2.qcow2")
        await host.createOverlay(last)
        await chown(last, spec.slot.uid, spec.slot.uid)
        await agent.freezeDisk(signal)
        await vm.mergeRootDisk(signal)
        await vm.sealRootDisk({ path: last, format: "qcow2" })
        await agent.thawDisk(signal)
        // Nobody reads it any more: what it held is in the one above it.
        await truncate(spec.overlay, 0)
        await agent.settle(signal)
        expect((await outputOf(agent, ["sh", "-c", "echo three > /three; sync; cat /one /two /three"])).text).toBe(
          "one\ntwo\nthree\n",
        )

        await expect(
          vm.saveDelta({ file: join(spec.directory, "d"), state: join(spec.directory, "s"), incarnation: 1 }),
        ).rejects.toThrow("has no delta")
        const reset = command(["sh", "-c", "echo b > /proc/sysrq-trigger"], { capabilities: "all" })
        await agent.startProcess("reset", reset, signal).catch(() => {})
        expect(await vm.exited).toMatchObject({ byGuest: true })
        agent.close()
        await vm.kill()
        expect(leftOf(spec.vmId, host)).toEqual([])
      })

      test("became a base that nobody may write, and that says what it is", async () => {
        const files = baseFiles(guests.base)
        const manifest = JSON.parse(await readFile(files.manifest, "utf8")) as Manifest
        expect(manifest).toMatchObject({ machine: { memoryMiB: 512, vcpus: 1, accelerator: host.vmm.accelerator } })
        for (const file of [files.manifest, files.ram, files.state])
          expect((await stat(file)).mode & 0o777, file).toBe(0o444)
        expect(manifest.ram).toEqual({ bytes: 512 * 1024 ** 2, sha256: await digestOf(files.ram) })
        expect(manifest.state).toEqual({ bytes: (await stat(files.state)).size, sha256: await digestOf(files.state) })
      })
    })

    describe("A guest that is launched", () => {
      test("is paused until it is continued, and goes on with the memory of its base", async () => {
        const spec = await guests.launchSpec()
        const vm = await guests.launch(spec)
        expect(await vm.status()).toBe("paused")
        const guest = await runGuest(vm)
        expect(await vm.status()).toBe("running")
        const held = await ask(spec, "get")
        expect(held).toMatch(/^[0-9a-f]{64}$/)
        await vm.pause()
        await expect(vm.saveBase({ directory: join(spec.directory, "base") }, randomUUID())).rejects.toThrow(
          "can become a base",
        )
        await vm.continue()
        expect(await ask(spec, "get")).toBe(held)
        expect(typeof (await vm.console())).toBe("string")
        guest.close()
      })

      test("with a memory of its own seals its disk and becomes a base, and leaves the one that it came from as it was", async () => {
        const { rootDisk, ...spec } = await guests.launchSpec()
        const own = { directory: join(spec.directory, "base") }
        const before = await digestOf(baseFiles(guests.base).ram)
        const vm = await guests.launch({ ...spec, rootDisk, memoryFile: join(spec.directory, "ram") })
        const guest = await runGuest(vm)
        expect(await ask(spec, "put grown")).toBe(sha256("grown"))
        const delta = { file: join(spec.directory, "d"), state: join(spec.directory, "s"), incarnation: 1 }
        await expect(vm.saveDelta(delta)).rejects.toThrow("has no delta")
        await guest.freeze(signal)
        await vm.pause()
        const next = { path: join(spec.directory, "disk", "1.qcow2"), format: "qcow2" } as const
        await host.createOverlay(next.path)
        await chown(next.path, spec.slot.uid, spec.slot.uid)
        await vm.sealRootDisk(next)
        await vm.saveBase(own, randomUUID())
        guest.close()
        await vm.kill()
        expect(await digestOf(baseFiles(guests.base).ram)).toBe(before)

        for (const { path } of [...rootDisk.slice(-1), next]) await chmod(path, 0o444)
        const { rootDisk: others, ...other } = await guests.launchSpec()
        const disks = [...rootDisk, next, ...others.slice(-1)]
        await guests.wake({ ...other, base: own, rootDisk: disks }, 1)
        expect(await ask(other, "get")).toBe(sha256("grown"))
      })

      test("comes from a base that is known to be current, or not: of another size, altered, or gone", async () => {
        const size = { memoryMiB: 512, vcpus: 1 }
        expect(await host.vmm.isCurrent(guests.base, size, signal)).toBe(true)
        expect(await host.vmm.isCurrent(guests.base, { ...size, memoryMiB: 1024 }, signal)).toBe(false)
        const copy = { directory: join(host.directory, "altered") }
        await cp(guests.base.directory, copy.directory, { recursive: true })
        expect(await host.vmm.isCurrent(copy, size, signal)).toBe(true)
        await chmod(baseFiles(copy).state, 0o644)
        await truncate(baseFiles(copy).state, 1000)
        expect(await host.vmm.isCurrent(copy, size, signal)).toBe(false)
        await rm(copy.directory, { recursive: true })
        expect(await host.vmm.isCurrent(copy, size, signal)).toBe(false)
      })

      test("shares no memory with another, and leaves the base as it was", async () => {
        const specs = [await guests.launchSpec(), await guests.launchSpec()] as const
        const [one, other] = specs
        const before = await digestOf(baseFiles(guests.base).ram)
        for (const spec of specs) await guests.wake(spec, 1)
        const held = await ask(one, "get")
        expect(await ask(other, "get")).toBe(held)
        expect(await ask(one, "put mine")).toBe(sha256("mine"))
        expect(await ask(other, "get")).toBe(held)
        expect(await ask(other, "clear")).toBe(sha256(Buffer.alloc(2 << 20)))
        expect(await ask(one, "get")).toBe(sha256("mine"))
        expect(await digestOf(baseFiles(guests.base).ram)).toBe(before)
      })

      test("sleeps and wakes with its memory, however often, each time against the base", async () => {
        let spec = await guests.launchSpec()
        let vm = await guests.wake(spec, 1)
        const filled = await ask(spec, "fill 8")
        spec = await guests.sleep(vm, spec, 1)

        vm = await guests.wake(spec, 2)
        expect(await ask(spec, "get")).toBe(filled)
        const cleared = await ask(spec, "clear")
        expect(cleared).toBe(sha256(Buffer.alloc(8 << 20)))
        const first = spec.delta!
        spec = await guests.sleep(vm, spec, 2)
        // Not needed any more: what changed since the base is all in the second.
        await Promise.all([first.file, first.state].map((file) => rm(file)))
        await using delta = await openDelta(spec.delta!)
        const manifest = JSON.parse(await readFile(baseFiles(guests.base).manifest, "utf8")) as Manifest
        expect(delta.header).toMatchObject({ vmId: spec.vmId, baseId: manifest.id, incarnation: 2 })

        vm = await guests.wake(spec, 3)
        expect(await ask(spec, "get")).toBe(cleared)
        expect(await ask(spec, "put on")).toBe(sha256("on"))
        spec = await guests.sleep(vm, spec, 3)
        await guests.wake(spec, 4)
        expect(await ask(spec, "get")).toBe(sha256("on"))
      })

      test("goes on running when its sleep could not be written", async () => {
        const spec = await guests.launchSpec()
        const vm = await guests.wake(spec, 1)
        const held = await ask(spec, "put awake")
        const guest = await openGuest(vm.ports, signal)
        await guest.freeze(signal)
        await vm.pause()
        const nowhere = join(spec.directory, "missing")
        const target = { file: join(nowhere, "delta"), state: join(nowhere, "state"), incarnation: 1 }
        await expect(vm.saveDelta(target)).rejects.toThrow("ENOENT")
        await vm.continue()
        await guest.thaw(identityFor(spec.vmId, 1), signal)
        expect(await ask(spec, "get")).toBe(held)
        guest.close()
      })
    })

    describeLeftovers(() => ({ host, guests }))
    describeSpares(() => ({ host, guests }))

    describe("A delta", () => {
      test("is loaded into no other VM, no other life and no altered one, and into its own all the same", async () => {
        let spec = await guests.launchSpec()
        const vm = await guests.wake(spec, 1)
        const held = await ask(spec, "put here")
        spec = await guests.sleep(vm, spec, 1)
        const refused = async (other: LaunchSpec, reason: string) => {
          await expect(host.vmm.launch(other, signal)).rejects.toThrow(new SnapshotRefused(reason))
          expect(leftOf(other.vmId, host)).toEqual([])
        }
        const delta = spec.delta!
        await refused({ ...(await guests.launchSpec()), delta }, "The delta is of another VM")
        await refused({ ...spec, delta: { ...delta, incarnation: 2 } }, "The delta is of another life of the VM")

        await copyFile(delta.state, `${delta.state}.kept`)
        await truncate(delta.state, 100)
        await refused(spec, "The device state is missing, altered, or another snapshot's")
        await rename(`${delta.state}.kept`, delta.state)
        await guests.wake(spec, 2)
        expect(await ask(spec, "get")).toBe(held)
      })
    })

    describe("A VM of an earlier daemon", () => {
      test("is taken over: the same process goes on, sleeps, and its end is heard of", async () => {
        let spec = await guests.launchSpec()
        const { hostId, directory, artifacts } = host
        const found = await launchedByEarlierDaemon({ module, place: { hostId, directory, artifacts }, spec })
        const held = await ask(spec, "put earlier")
        expect(await host.vmm.find()).toEqual([found])
        // Its base could not be loaded any more: the clock of the host is another.
        const file = join(spec.base.directory, "manifest.json")
        const manifest = JSON.parse(await readFile(file, "utf8")) as { machine: object }
        await writeFile(file, JSON.stringify({ ...manifest, machine: { ...manifest.machine, tscKHz: 1 } }))
        const vm = await host.vmm.adopt(found, spec, signal)
        await writeFile(file, JSON.stringify(manifest))
        if (vm === undefined) throw new Error("It was not taken over")
        guests.hold(vm)
        expect(vm.process).toEqual(found)
        expect(await vm.status()).toBe("running")
        expect(await ask(spec, "get")).toBe(held)
        spec = await guests.sleep(vm, spec, 1)
        expect(await vm.exited).toMatchObject({ byGuest: false })
        expect(leftOf(spec.vmId, host)).toEqual([])
        await guests.wake(spec, 2)
        expect(await ask(spec, "get")).toBe(held)
      })

      test("that died unseen is heard of, and destroyed without a trace", async () => {
        const spec = await guests.launchSpec()
        const { hostId, directory, artifacts } = host
        const found = await launchedByEarlierDaemon({ module, place: { hostId, directory, artifacts }, spec })
        const vm = await host.vmm.adopt(found, spec, signal)
        process.kill(found.pid, "SIGKILL")
        expect(await vm?.exited).toEqual({ byGuest: false, reason: "it ended" })
        expect(await host.vmm.adopt(found, spec, signal)).toBeUndefined()
        await host.vmm.destroy(found)
        expect(leftOf(spec.vmId, host)).toEqual([])
      })
    })

    describe("A process", () => {
      test("is touched by nobody who doesn't know all of its identity, and by no other host id", async () => {
        await using other = await openVmmHost(createVmm)
        const [spec, theirs] = [await guests.launchSpec(), await guests.launchSpec(other)]
        const [vm, neighbour] = [await guests.wake(spec, 1), await guests.wake(theirs, 1, other)]
        const held = await ask(spec, "put here")
        expect(await host.vmm.find()).toEqual([vm.process])
        expect(await other.vmm.find()).toEqual([neighbour.process])

        const strangers: VmProcess[] = [
          { ...vm.process, startTime: vm.process.startTime + 1 },
          { ...vm.process, id: randomUUID() },
          { ...vm.process, pid: neighbour.process.pid },
          { ...vm.process, pid: 2 ** 22 + 1 },
        ]
        for (const stranger of strangers) {
          expect(await host.vmm.adopt(stranger, spec, signal)).toBeUndefined()
          await host.vmm.destroy(stranger)
        }
        await host.vmm.close()
        expect(await vm.status()).toBe("running")
        expect(await neighbour.status()).toBe("running")
        expect(await ask(spec, "get")).toBe(held)
        expect(leftOf(spec.vmId, host).filter((what) => what.startsWith("/run"))).toHaveLength(1)

        await host.vmm.destroy(vm.process)
        expect(leftOf(spec.vmId, host)).toEqual([])
        expect(await vm.exited).toMatchObject({ byGuest: false })
        await host.vmm.destroy(vm.process)
        expect(await other.vmm.find()).toEqual([neighbour.process])
        await neighbour.kill()
      })
    })
  })
}
