/** What must be gone after the end of a process, and after one that never came to be: a part of what every {@link Vmm} must do. */
import { createHash } from "node:crypto"
import { existsSync } from "node:fs"
import { cp, link, mkdir, readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import { baseFiles, type Manifest } from "../../src/vmm/manifest.ts"
import type { LaunchSpec, VmSpec } from "../../src/vmm/vmm.ts"
import type { Guests } from "./guests.ts"
import { leftOf, runDirectoryOf, type VmmHost } from "./vmm-host.ts"

const signal = new AbortController().signal
const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex")

/** `of` is asked inside of the tests: before them there is neither. */
export const describeLeftovers = (of: () => { readonly host: VmmHost; readonly guests: Guests }) => {
  const hasSockets = ({ vmId }: VmSpec) => existsSync(join(runDirectoryOf(of().host.hostId), vmId))
  const hasProcess = async ({ vmId }: VmSpec) => (await of().host.vmm.find()).some(({ id }) => id === vmId)

  describe("Nothing is left", () => {
    test("of a VM that was killed, once or twice, or ended by itself", async () => {
      const spec = await of().guests.launchSpec()
      const vm = await of().guests.wake(spec, 1)
      expect(leftOf(spec.vmId, of().host)).not.toEqual([])
      await vm.kill()
      expect(leftOf(spec.vmId, of().host)).toEqual([])
      expect(await vm.exited).toMatchObject({ byGuest: false })
      await vm.kill()
      expect(await of().host.vmm.find()).toEqual([])

      const again = await of().guests.launch(spec)
      // What ends an earlier life leaves this one alone.
      await vm.kill()
      await of().host.vmm.destroy(vm.process)
      expect(await again.status()).toBe("paused")
      expect(leftOf(spec.vmId, of().host).filter((what) => what.startsWith("/run"))).toHaveLength(1)
      process.kill(again.process.pid, "SIGKILL")
      expect(await again.exited).toMatchObject({ byGuest: false })
      await again.kill()
      expect(leftOf(spec.vmId, of().host)).toEqual([])
    })

    test("of one that ended while nobody looked, once it is swept; others keep theirs", async () => {
      const { host, guests } = of()
      const [gone, kept] = [
        await guests.wake(await guests.launchSpec(), 1),
        await guests.wake(await guests.launchSpec(), 1),
      ]
      for (const vm of [gone, kept]) {
        process.kill(vm.process.pid, "SIGKILL")
        await vm.exited
        expect(leftOf(vm.process.id, host)).not.toEqual([])
      }
      await host.vmm.sweep(new Set([kept.process.id]))
      expect(leftOf(gone.process.id, host)).toEqual([])
      expect(leftOf(kept.process.id, host)).not.toEqual([])
      await Promise.all([gone.kill(), kept.kill()])
      expect(leftOf(kept.process.id, host)).toEqual([])
    })

    test.for<[what: string, spoil: (spec: LaunchSpec, host: VmmHost) => Promise<LaunchSpec>, error: RegExp]>([
      [
        "whose disk is missing",
        async (spec) => ({
          ...spec,
          rootDisk: [{ path: join(spec.directory, "none"), format: "raw" }, ...spec.rootDisk.slice(1)],
        }),
        /did not start|could not be started/,
      ],
      [
        "whose disk is of another format than was said",
        async (spec) => ({ ...spec, rootDisk: spec.rootDisk.map(({ path }) => ({ path, format: "qcow2" })) }),
        /did not start/,
      ],
      ["whose base is of another size", async (spec) => ({ ...spec, memoryMiB: 256 }), /made with memoryMiB '512'/],
      [
        "whose base is not there",
        async (spec) => ({ ...spec, base: { directory: spec.directory } }),
        /has no valid manifest/,
      ],
      [
        "whose delta is not there",
        async (spec) => {
          const [file, state] = [join(spec.directory, "delta-1"), join(spec.directory, "state-1")]
          return { ...spec, delta: { file, state, incarnation: 1 } }
        },
        /The delta is missing/,
      ],
      ["whose sockets have no place", withoutPlace, /EEXIST/],
      ["whose devices are not what QEMU wrote", withOtherDevices, /device state/],
    ])("of a launch %s, and it says so", async ([, spoil, error]) => {
      const spec = await spoil(await of().guests.launchSpec(), of().host)
      await expect(of().host.vmm.launch(spec, signal)).rejects.toThrow(error)
      expect(leftOf(spec.vmId, of().host)).toEqual([])
    })

    test.for<[what: "boot" | "launch", when: string, reached: (spec: VmSpec) => boolean | Promise<boolean>]>([
      ["boot", "before it began", () => true],
      ["launch", "before it began", () => true],
      ["boot", "as its sockets appeared", hasSockets],
      ["launch", "as its sockets appeared", hasSockets],
      ["boot", "as its process appeared", hasProcess],
      ["launch", "as its process appeared", hasProcess],
    ])("of a %s that was given up %s", async ([what, , reached]) => {
      const [launching, booting] = [await of().guests.launchSpec(), await of().guests.bootSpec()]
      const spec = what === "boot" ? booting : launching
      const giveUp = new AbortController()
      let over = false
      const given = (async () => {
        while (!over && !(await reached(spec))) await new Promise((resolve) => setImmediate(resolve))
        giveUp.abort(new Error("given up"))
      })()
      if (await reached(spec)) await given
      const begun = await (
        what === "boot" ? of().host.vmm.boot(booting, giveUp.signal) : of().host.vmm.launch(launching, giveUp.signal)
      ).catch((error: Error) => error)
      over = true
      await given
      // It may have been done by then: whoever gets a VM ends it.
      if (begun instanceof Error) expect(begun.message).toBe("given up")
      else await begun.kill()
      expect(leftOf(spec.vmId, of().host)).toEqual([])
    })
  })
}

/** Something else is where its sockets should be. */
const withoutPlace = async (spec: LaunchSpec, { hostId }: VmmHost): Promise<LaunchSpec> => {
  await mkdir(runDirectoryOf(hostId), { recursive: true })
  await writeFile(join(runDirectoryOf(hostId), spec.vmId), "")
  return spec
}

/** Its own copy of the base, whole by its manifest, whose device state QEMU never wrote. */
const withOtherDevices = async (spec: LaunchSpec): Promise<LaunchSpec> => {
  const [from, directory] = [baseFiles(spec.base), join(spec.directory, "base")]
  const to = baseFiles({ directory })
  await mkdir(directory)
  await link(from.ram, to.ram)
  await cp(from.qemu, to.qemu, { recursive: true })
  const state = Buffer.alloc(20_000, "x")
  await writeFile(to.state, state)
  const manifest = JSON.parse(await readFile(from.manifest, "utf8")) as Manifest
  await writeFile(to.manifest, JSON.stringify({ ...manifest, state: { bytes: state.length, sha256: sha256(state) } }))
  return { ...spec, base: { directory } }
}
