import { createHash, randomBytes } from "node:crypto"
import { mkdir, mkdtemp, open, rm, truncate, utimes, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import {
  baseFiles,
  MANIFEST_FORMAT,
  SnapshotRefused,
  trustRam,
  verifyBase,
  type Machine,
  type Manifest,
} from "../../src/vmm/manifest.ts"

const here: Machine = {
  accelerator: "tcg",
  cpu: "max",
  architecture: "x86_64",
  tscKHz: 2_000_000,
  deviceLayout: 1,
  memoryMiB: 512,
  vcpus: 1,
}
const ram = randomBytes(3 * 1024 ** 2)
const state = randomBytes(20_000)
const factsOf = (bytes: Buffer) => ({
  bytes: bytes.length,
  sha256: createHash("sha256").update(bytes).digest("hex"),
})
const manifest: Manifest = {
  format: MANIFEST_FORMAT,
  id: "3f0e7d2c-1111-4222-8333-444455556666",
  machine: here,
  qemu: { version: "10.0.2 (Debian 1:10.0.2+ds-2)", files: { "qemu-system-x86_64": "q" } },
  kernelHash: "k",
  ram: factsOf(ram),
  state: factsOf(state),
}

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "torpor-base-"))
  const files = baseFiles({ directory })
  await Promise.all([
    writeFile(files.ram, ram),
    writeFile(files.state, state),
    writeFile(files.manifest, JSON.stringify(manifest)),
  ])
})
afterEach(() => rm(directory, { recursive: true, force: true }))

const verify = (machine: Machine = here) => verifyBase({ directory }, machine)
const refuses = async (reason: string) => expect(verify()).rejects.toThrow(new SnapshotRefused(reason))
const MEMORY = "The base's memory is altered, truncated or missing"
const STATE = "The base's device state is altered, truncated or missing"
/** One byte another, in place: neither its size nor its name tells. */
const flipByte = async (path: string, at: number) => {
  await using file = await open(path, "r+")
  const byte = Buffer.alloc(1)
  await file.read(byte, 0, 1, at)
  await file.write(Buffer.from([(byte[0] ?? 0) ^ 1]), 0, 1, at)
}

describe("A base", () => {
  test("of a machine that is equal in everything is accepted, again and again", async () => {
    expect(await verify()).toEqual(manifest)
    expect(await verify()).toEqual(manifest)
  })

  const elsewhere: Machine = {
    accelerator: "kvm",
    cpu: "host",
    architecture: "aarch64",
    tscKHz: 2_000_001,
    deviceLayout: 2,
    memoryMiB: 1024,
    vcpus: 2,
  }
  test.for(Object.keys(elsewhere) as (keyof Machine)[])(
    "is refused where %s is another, and the reason says both",
    async (key) => {
      await expect(verify({ ...here, [key]: elsewhere[key] })).rejects.toThrow(
        new SnapshotRefused(`The base was made with ${key} '${here[key]}', and this machine has '${elsewhere[key]}'`),
      )
    },
  )

  test("of another format is refused, and the reason says which", async () => {
    await writeFile(join(directory, "manifest.json"), JSON.stringify({ ...manifest, format: 1, more: true }))
    await refuses(`The base in ${directory} is of format 1, and format 2 is what can be loaded`)
  })

  test.for<[what: string, text: string]>([
    ["empty", ""],
    ["no JSON", "{"],
    ["binary", "\0\0\0\0"],
    ["null", "null"],
    ["a list", "[]"],
    ["empty JSON", "{}"],
    ["without a machine", JSON.stringify({ ...manifest, machine: undefined })],
    ["without the QEMU that made it", JSON.stringify({ ...manifest, qemu: undefined })],
    ["without QEMU's executable", JSON.stringify({ ...manifest, qemu: { ...manifest.qemu, files: {} } })],
    [
      "of a QEMU outside it",
      JSON.stringify({ ...manifest, qemu: { ...manifest.qemu, files: { ...manifest.qemu.files, "../qemu": "q" } } }),
    ],
    ["without a rate", JSON.stringify({ ...manifest, machine: { ...here, tscKHz: undefined } })],
    ["without the memory's digest", JSON.stringify({ ...manifest, ram: { bytes: ram.length } })],
    ["cut short", JSON.stringify(manifest).slice(0, -1)],
  ])("whose manifest is %s is refused", async ([, text]) => {
    await writeFile(join(directory, "manifest.json"), text)
    await refuses(`The base in ${directory} has no valid manifest`)
  })

  test("without a manifest, or with a directory in its place, is refused", async () => {
    await rm(join(directory, "manifest.json"))
    await refuses(`The base in ${directory} has no valid manifest`)
    await mkdir(join(directory, "manifest.json"))
    await refuses(`The base in ${directory} has no valid manifest`)
  })

  test.for<[file: "ram" | "state", what: string, spoil: (path: string) => Promise<void>]>([
    ["ram", "altered", (path) => flipByte(path, 1_000_000)],
    ["ram", "truncated", (path) => truncate(path, ram.length - 4096)],
    ["ram", "longer", (path) => truncate(path, ram.length + 4096)],
    ["ram", "missing", (path) => rm(path)],
    ["state", "altered", (path) => flipByte(path, state.length - 1)],
    ["state", "truncated", (path) => truncate(path, state.length - 1)],
    ["state", "longer", (path) => truncate(path, state.length + 1)],
    ["state", "missing", (path) => rm(path)],
  ])("whose %s is %s is refused, before and after it was once accepted", async ([file, , spoil]) => {
    const path = join(directory, file)
    const [whole, reason] = file === "ram" ? [ram, MEMORY] : [state, STATE]
    await spoil(path)
    await refuses(reason)
    await writeFile(path, whole)
    await verify()
    await spoil(path)
    await refuses(reason)
  })

  test("whose memory is altered is refused though its time was put back", async () => {
    const path = join(directory, "ram")
    const [atime, mtime] = [1_700_000_000, 1_700_000_000]
    await utimes(path, atime, mtime)
    await verify()
    await flipByte(path, 0)
    await utimes(path, atime, mtime)
    await refuses(MEMORY)
  })

  test("whose memory was trusted as it was written is read once it is another", async () => {
    await flipByte(join(directory, "ram"), 5)
    await trustRam({ directory }, manifest.ram)
    expect(await verify()).toEqual(manifest)
    await flipByte(join(directory, "ram"), 6)
    await refuses(MEMORY)
  })

  test("whose manifest speaks of another memory is refused, though this one was accepted", async () => {
    await verify()
    const other = { ...manifest, ram: factsOf(randomBytes(ram.length)) }
    await writeFile(join(directory, "manifest.json"), JSON.stringify(other))
    await refuses(MEMORY)
  })
})
