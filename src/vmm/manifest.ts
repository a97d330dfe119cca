/** What a base must meet again to be loaded. QEMU notices few of these mismatches by itself; most of them hang the guest. */
import { open, readFile, stat } from "node:fs/promises"
import { join } from "node:path"
import { z } from "zod"
import { sha256Of } from "../file-digest.ts"
import { QEMU } from "./process/command-line.ts"
import type { BasePaths } from "./vmm.ts"

export const MANIFEST_FORMAT = 2

/** The part that must be equal here and now. */
const Machine = z.object({
  accelerator: z.enum(["kvm", "tcg"]),
  cpu: z.string(),
  architecture: z.string(),
  /** A guest restored at another rate would count time at another speed. */
  tscKHz: z.number().int(),
  deviceLayout: z.number().int(),
  memoryMiB: z.number().int(),
  vcpus: z.number().int(),
})
export type Machine = z.infer<typeof Machine>

/** The QEMU that made it and alone may load it: kept with it, and no question of what is installed. */
const KeptQemu = z.object({
  /** As it says itself, for people. */
  version: z.string(),
  /** The SHA-256 of each file. */
  files: z.record(z.string().regex(/^[\w.-]+$/), z.string()).refine((files) => QEMU in files),
})
export type KeptQemu = Readonly<z.infer<typeof KeptQemu>>

/** The one field that every format has. */
const Format = z.object({ format: z.number() })

const Manifest = z.object({
  format: z.literal(MANIFEST_FORMAT),
  id: z.string(),
  machine: Machine,
  qemu: KeptQemu,
  /** Of the kernel that runs in it and how it was started; the file itself isn't needed again. */
  kernelHash: z.string(),
  ram: z.object({ bytes: z.number().int(), sha256: z.string() }),
  state: z.object({ bytes: z.number().int(), sha256: z.string() }),
})
export type Manifest = z.infer<typeof Manifest>

/** A base or delta that may not be loaded, with what differs. */
export class SnapshotRefused extends Error {
  override readonly name = "SnapshotRefused"
}

export const baseFiles = ({ directory }: BasePaths) => ({
  manifest: join(directory, "manifest.json"),
  ram: join(directory, "ram"),
  state: join(directory, "state"),
  /** A directory: the QEMU that made it. */
  qemu: join(directory, "qemu"),
})

/** The SHA-256 of a file. */
export const digestOf = async (path: string): Promise<string> => {
  await using file = await open(path, "r")
  return await sha256Of(file)
}

/** RAM files that were read whole since this process began, by what would change if somebody touched them. */
const verified = new Set<string>()

const keyOf = async (path: string, { sha256 }: Manifest["ram"]) => {
  const { ino, size, mtimeMs, ctimeMs } = await stat(path)
  return [path, ino, size, mtimeMs, ctimeMs, sha256].join()
}

/** Remembers that a RAM file is what its manifest says: it was written just now. */
export const trustRam = async (base: BasePaths, ram: Manifest["ram"]): Promise<void> =>
  void verified.add(await keyOf(baseFiles(base).ram, ram))

const readManifest = async (path: string): Promise<unknown> => {
  try {
    return JSON.parse(await readFile(path, "utf8"))
  } catch {
    return undefined
  }
}

/** A base's manifest as it is, without a look at this machine or the other files; throws {@link SnapshotRefused} when there is none. */
export const openManifest = async (base: BasePaths): Promise<Manifest> => {
  const read = await readManifest(baseFiles(base).manifest)
  const { data: { format } = {} } = Format.safeParse(read)
  if (format !== undefined && format !== MANIFEST_FORMAT)
    throw new SnapshotRefused(
      `The base in ${base.directory} is of format ${format}, and format ${MANIFEST_FORMAT} is what can be loaded`,
    )
  const parsed = Manifest.safeParse(read)
  if (!parsed.success) throw new SnapshotRefused(`The base in ${base.directory} has no valid manifest`)
  return parsed.data
}

/**
 * Reads a base's manifest and checks all of it: that this machine is equal in everything, that the device state is unaltered, and, once
 * per daemon and file, that the RAM is. Throws {@link SnapshotRefused} naming what differs.
 */
export const verifyBase = async (base: BasePaths, here: Machine): Promise<Manifest> => {
  const files = baseFiles(base)
  const manifest = await openManifest(base)
  for (const key of Object.keys(here) as (keyof Machine)[])
    if (manifest.machine[key] !== here[key])
      throw new SnapshotRefused(
        `The base was made with ${key} '${manifest.machine[key]}', and this machine has '${here[key]}'`,
      )
  if ((await digestOf(files.state).catch(() => "")) !== manifest.state.sha256)
    throw new SnapshotRefused("The base's device state is altered, truncated or missing")
  const key = await keyOf(files.ram, manifest.ram).catch(() => undefined)
  if (key === undefined || !verified.has(key)) {
    const size = (await stat(files.ram).catch(() => undefined))?.size
    if (size !== manifest.ram.bytes || (await digestOf(files.ram)) !== manifest.ram.sha256)
      throw new SnapshotRefused("The base's memory is altered, truncated or missing")
    if (key !== undefined) verified.add(key)
  }
  return manifest
}
