import { execFile, spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import { existsSync } from "node:fs"
import {
  appendFile,
  chmod,
  copyFile,
  cp,
  link,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  truncate,
  writeFile,
} from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { runCommand } from "../../src/command.ts"
import { linkQemu, openInstalledQemu, verifyQemu } from "../../src/vmm/kept-qemu.ts"
import { baseFiles, digestOf, SnapshotRefused, type Manifest } from "../../src/vmm/manifest.ts"
import type { BasePaths, LaunchSpec, Vm } from "../../src/vmm/vmm.ts"
import { ask, createGuests, type Guests } from "./guests.ts"
import { createVmmWith } from "./qemu-under-test.ts"
import { leftOf, openVmmHost, type VmmHost } from "./vmm-host.ts"

const { signal } = new AbortController()
const QEMU = "qemu-system-x86_64"

let system: string
beforeAll(async () => {
  system = (await runCommand("sh", ["-c", `command -v ${QEMU}`], { signal })).trim()
})

let prefix: string
let executable: string
beforeEach(async () => {
  prefix = await mkdtemp(join(tmpdir(), "torpor-qemu-"))
  executable = await install(prefix)
})
afterEach(() => rm(prefix, { recursive: true, force: true }))

/** An installation of its own: the system's QEMU and its modules. */
const install = async (to: string): Promise<string> => {
  const modules = join(to, "lib/x86_64-linux-gnu/qemu")
  await Promise.all([mkdir(join(to, "bin")), mkdir(modules, { recursive: true })])
  await copyFile(system, join(to, "bin", QEMU))
  const installed = join(system, "../../lib/x86_64-linux-gnu/qemu")
  for (const name of await readdir(installed).catch(() => []))
    if (name.startsWith("accel-")) await copyFile(join(installed, name), join(modules, name))
  return join(to, "bin", QEMU)
}

/** As a package manager does it: the new file is written beside the old one and renamed over it. */
const upgrade = async (file: string): Promise<void> => {
  await copyFile(file, `${file}.new`)
  await appendFile(`${file}.new`, "\0")
  await rename(`${file}.new`, file)
}

describe("The installed QEMU", () => {
  let directory: string
  beforeEach(() => void (directory = join(prefix, "kept")))
  const keep = () => openInstalledQemu(directory, executable)(signal)

  test("is kept with its firmware and its accelerators, and nobody may write them", async () => {
    const modules = join(prefix, "lib/x86_64-linux-gnu/qemu")
    await Promise.all([
      writeFile(join(modules, "accel-tcg-x86_64.so"), "a module"),
      writeFile(join(modules, "accel-qtest-x86_64.so"), "another"),
      writeFile(join(modules, "audio-alsa.so"), "a third"),
    ])
    const build = await keep()
    const firmware = ["bios-microvm.bin", "linuxboot_dma.bin", "qboot.rom"]
    const names = [QEMU, "accel-tcg-x86_64.so", ...firmware].toSorted()
    expect((await readdir(build.directory)).toSorted()).toEqual(names)
    expect(Object.keys(build.files).toSorted()).toEqual(names)
    expect(build.version).toMatch(/^\d+\.\d+\.\d+/)
    expect(build.files[QEMU]).toBe(await digestOf(system))
    for (const name of names) {
      const { mode, uid } = await stat(join(build.directory, name))
      expect({ name, mode: mode & 0o777, uid }).toEqual({ name, mode: name === QEMU ? 0o555 : 0o444, uid: 0 })
      expect(await digestOf(join(build.directory, name))).toBe(build.files[name])
    }
    await verifyQemu(build.directory, build)
  })

  test("is kept once, however many ask at once, and by the next process too", async () => {
    const installed = openInstalledQemu(directory, executable)
    const builds = await Promise.all([installed(signal), installed(signal), installed(signal)])
    const { ino } = await stat(join(builds[0].directory, QEMU))
    expect(new Set(builds).size).toBe(1)
    expect(await keep()).toEqual(builds[0])
    expect(await readdir(directory)).toHaveLength(1)
    expect((await stat(join(builds[0].directory, QEMU))).ino).toBe(ino)
  })

  test("that is given up by one is kept for the other", async () => {
    const installed = openInstalledQemu(directory, executable)
    const givenUp = installed(AbortSignal.abort(new Error("given up")))
    const build = installed(signal)
    await expect(givenUp).rejects.toThrow("given up")
    await verifyQemu((await build).directory, await build)
  })

  test("that is upgraded is another, at once, and the one before stays until the process ends", async () => {
    const installed = openInstalledQemu(directory, executable)
    const before = await installed(signal)
    await upgrade(executable)
    const after = await installed(signal)
    expect(after.files).toEqual({ ...before.files, [QEMU]: await digestOf(executable) })
    expect(after.files).not.toEqual(before.files)
    await verifyQemu(before.directory, before)
    expect(await keep()).toEqual(after)
    expect(existsSync(before.directory)).toBe(false)
  })

  test("that is none any more is not answered with what was kept", async () => {
    const installed = openInstalledQemu(directory, executable)
    await installed(signal)
    await rm(executable)
    await expect(installed(signal)).rejects.toThrow(`${executable} is not installed`)
  })

  test("is whole after a process was killed while it was copied", async () => {
    const program = `import { openInstalledQemu } from ${JSON.stringify(join(import.meta.dirname, "../../src/vmm/kept-qemu.ts"))}
await openInstalledQemu(${JSON.stringify(directory)}, ${JSON.stringify(executable)})(new AbortController().signal)`
    const begun = async () => (await readdir(directory).catch(() => [])).length > 0
    for (let signalled: unknown; signalled !== "SIGKILL";) {
      // One that was done before it could be killed.
      await rm(directory, { recursive: true, force: true })
      const child = spawn(process.execPath, ["--input-type=module", "-e", program], { stdio: "inherit" })
      const exit = once(child, "exit")
      while (!(await begun()) && child.exitCode === null) await new Promise((resolve) => setImmediate(resolve))
      child.kill("SIGKILL")
      const [code, signalName] = (await exit) as [number | null, string | null]
      expect([0, null]).toContain(code)
      signalled = signalName
    }
    const build = await keep()
    await verifyQemu(build.directory, build)
    expect(await readdir(directory)).toEqual([build.directory.slice(directory.length + 1)])
  })

  test("is copied again when what was kept is no longer what it was", async () => {
    const build = await keep()
    await truncate(join(build.directory, QEMU), 4096)
    await rm(join(build.directory, "bios-microvm.bin"))
    expect(await keep()).toEqual(build)
    await verifyQemu(build.directory, build)
  })

  test("cannot be kept where nothing may be run, and the operator is told", async () => {
    const program = `import { openInstalledQemu } from ${JSON.stringify(join(import.meta.dirname, "../../src/vmm/kept-qemu.ts"))}
await openInstalledQemu(${JSON.stringify(directory)}, ${JSON.stringify(executable)})(new AbortController().signal).catch((error) => console.log(error.name, error.message))`
    await mkdir(directory)
    const { stdout } = await promisify(execFile)("unshare", [
      "--mount",
      "sh",
      "-c",
      `mount -t tmpfs -o noexec tmpfs "$1" && exec "$2" --input-type=module -e "$3"`,
      "sh",
      directory,
      process.execPath,
      program,
    ])
    expect(stdout).toMatch(
      /^OperatorError .* is on a file system that is mounted noexec, and QEMU is run from there\.\n$/,
    )
  })

  test("is one file with what its bases have, and is gone with the last of them", async () => {
    const build = await keep()
    const bases = [join(prefix, "one"), join(prefix, "two")]
    for (const base of bases) await linkQemu(build, base)
    const kept = join(build.directory, QEMU)
    const { ino, nlink } = await stat(kept)
    for (const base of bases) expect((await stat(join(base, QEMU))).ino).toBe(ino)
    expect(nlink).toBe(3)
    await upgrade(executable)
    await keep()
    expect((await stat(join(bases[0]!, QEMU))).nlink).toBe(2)
    await rm(bases[1]!, { recursive: true })
    expect((await stat(join(bases[0]!, QEMU))).nlink).toBe(1)
    await verifyQemu(bases[0]!, build)
  })

  test.for<[file: string, what: string, spoil: (path: string) => Promise<void>]>([
    [QEMU, "missing", (path) => rm(path)],
    [QEMU, "cut short", (path) => truncate(path, 1_000_000)],
    [QEMU, "another file", (path) => upgrade(path)],
    ["bios-microvm.bin", "missing", (path) => rm(path)],
    ["bios-microvm.bin", "cut short", (path) => truncate(path, 4096)],
  ])("is refused with the reason when, in its base, %s is %s", async ([name, , spoil]) => {
    const build = await keep()
    await verifyQemu(build.directory, build)
    await spoil(join(build.directory, name))
    await expect(verifyQemu(build.directory, build)).rejects.toThrow(
      new SnapshotRefused(
        `The QEMU that the base was made with (${build.version}) was kept with it, and its ${name} is altered or missing: build the image again`,
      ),
    )
  })
})

describe("A base", () => {
  let installation: string
  let installed: string
  let host: VmmHost
  let guests: Guests
  beforeAll(async () => {
    installation = await mkdtemp(join(tmpdir(), "torpor-qemu-"))
    installed = await install(installation)
    host = await openVmmHost(createVmmWith(installed))
    guests = await createGuests(host)
  })
  afterEach(() => guests.endAll())
  afterAll(async () => {
    await host[Symbol.asyncDispose]()
    await rm(installation, { recursive: true, force: true })
  })

  /** The digest of the program that a VM's process runs. */
  const programOf = (vm: Vm) => digestOf(`/proc/${vm.process.pid}/exe`)
  const manifestOf = async (base: BasePaths) => JSON.parse(await readFile(baseFiles(base).manifest, "utf8")) as Manifest

  test("is launched and woken by the QEMU that made it, whatever is installed since", async () => {
    const first = await digestOf(installed)
    let spec = await guests.launchSpec()
    const vm = await guests.wake(spec, 1)
    const held = await ask(spec, "put before the upgrade")
    expect(await programOf(vm)).toBe(first)
    spec = await guests.sleep(vm, spec, 1)

    await upgrade(installed)
    const second = await digestOf(installed)
    expect(await programOf(await guests.wake(spec, 2))).toBe(first)
    expect(await ask(spec, "get")).toBe(held)
    expect(await programOf(await guests.launch(await guests.launchSpec()))).toBe(first)

    const booting = await guests.bootSpec()
    const booted = await guests.boot(booting)
    expect(await programOf(booted.vm)).toBe(second)
    // Once more, while the guest runs that the second one booted: its base is the second one's all the same.
    await upgrade(installed)
    const base = { directory: join(host.directory, "second") }
    booted.agent.close()
    await booted.guest.freeze(signal)
    booted.guest.close()
    await booted.vm.pause()
    await booted.vm.saveBase(base, randomUUID())
    await booted.vm.kill()
    expect((await manifestOf(guests.base)).qemu.files[QEMU]).toBe(first)
    expect((await manifestOf(base)).qemu.files[QEMU]).toBe(second)
    await chmod(booting.overlay, 0o444)
    const other = await guests.launchSpec()
    const rootDisk = [...booting.rootDisk, ...other.rootDisk.slice(-1)]
    expect(await programOf(await guests.launch({ ...other, base, rootDisk }))).toBe(second)

    await rm(installed)
    expect(await programOf(await guests.launch(await guests.launchSpec()))).toBe(first)
    await expect(guests.boot(await guests.bootSpec())).rejects.toThrow("is not installed")
  })

  /** Another base of the same guest, with one file of its QEMU changed and, where it is said, a manifest that names the change. */
  const withOther = async (name: string, change: (bytes: Buffer) => Buffer, named: boolean): Promise<LaunchSpec> => {
    const spec = await guests.launchSpec()
    const [from, directory] = [baseFiles(spec.base), join(spec.directory, "base")]
    const to = baseFiles({ directory })
    await mkdir(directory)
    await Promise.all([link(from.ram, to.ram), link(from.state, to.state), cp(from.qemu, to.qemu, { recursive: true })])
    const file = join(to.qemu, name)
    const bytes = change(await readFile(file))
    await rm(file)
    await writeFile(file, bytes)
    await chmod(file, 0o555)
    const manifest = await manifestOf(spec.base)
    const files = { ...manifest.qemu.files, ...(named ? { [name]: await digestOf(file) } : {}) }
    await writeFile(to.manifest, JSON.stringify({ ...manifest, qemu: { ...manifest.qemu, files } }))
    return { ...spec, base: { directory } }
  }
  /** The same length, so that nothing else in the executable moves. */
  const withoutLibrary = (bytes: Buffer) => {
    const at = bytes.indexOf("libfdt.so.1\0")
    if (at === -1) throw new Error("QEMU needs no libfdt")
    bytes.write("libnot.so.1", at)
    return bytes
  }

  test.for<[what: string, file: string, change: (bytes: Buffer) => Buffer, named: boolean, reason: RegExp]>([
    ["executable is altered", QEMU, withoutLibrary, false, /its qemu-system-x86_64 is altered or missing/],
    [
      "executable misses a library",
      QEMU,
      withoutLibrary,
      true,
      /cannot start on this system any more: .*libnot\.so\.1/,
    ],
    ["firmware is none", "bios-microvm.bin", () => Buffer.from("none"), true, /did not start: .*bios/i],
  ])("whose QEMU's %s is refused, and the reason says so", async ([, file, change, named, reason]) => {
    const spec = await withOther(file, change, named)
    await expect(host.vmm.launch(spec, signal)).rejects.toThrow(reason)
    expect(leftOf(spec.vmId, host)).toEqual([])
  })
})
