/**
 * What every VM is made of, built once into the cache and shared by all data directories:
 * `artifacts/kernel-<hash>/{vmlinuz,initrd}`, `system-<hash>/disk.raw`, `base-<hash>/disk.raw`, `blank-<hash>/disk.raw`,
 * `empty-<hash>/drive.raw`. Where one is made again, because somebody has emptied the cache, its hash is another.
 */
import { open } from "node:fs/promises"
import { join } from "node:path"
import { atOnce } from "../src/at-once.ts"
import { ensureArtifact, findArtifact, type Artifact, type Progress, type Recipe } from "./artifact.ts"
import { baseRecipe } from "./base/base.ts"
import { blankRecipe } from "./base/blank.ts"
import { DRIVE_MIB } from "./drive-size.ts"
import { kernelRecipe } from "./kernel/kernel.ts"
import type { Debian } from "./packages.ts"
import { systemRecipe } from "./system/system.ts"

export interface Artifacts {
  readonly kernel: string
  readonly kernelHash: string
  readonly initramfs: string
  readonly systemDisk: string
  /** The managed base image's root file system. */
  readonly rootDisk: string
  readonly rootDiskHash: string
  /** An empty file system of a root disk's size. */
  readonly blankDisk: string
  readonly blankDiskHash: string
  /** Behind every drive that isn't used. */
  readonly emptyDrive: string
}

const DRIVE_BYTES = DRIVE_MIB * 1024 ** 2

const emptyRecipe: Recipe = {
  kind: "empty",
  ingredients: [String(DRIVE_BYTES)],
  async build(directory) {
    const file = await open(join(directory, "drive.raw"), "wx")
    await file.truncate(DRIVE_BYTES)
    await file.close()
  },
}

interface Source {
  readonly cacheDirectory: string
  readonly debian: Debian
}

const recipes = async (debian: Debian) =>
  [
    ...(await Promise.all([kernelRecipe(debian), systemRecipe(debian), baseRecipe(debian), blankRecipe()])),
    emptyRecipe,
  ] as const

/** Builds what is missing of the base artefacts, with a line of progress each; an unreachable mirror is an {@link OperatorError}. */
export const ensureArtifacts = async (
  { cacheDirectory, debian }: Source,
  onProgress: Progress,
  signal: AbortSignal,
): Promise<Artifacts> => {
  const [kernel, system, base, blank, empty] = await recipes(debian)
  // At once: one takes longer than all the others, and most of what it does is one after the other.
  const made = await atOnce((whole) => {
    const ensure = (recipe: Recipe): Promise<Artifact> => ensureArtifact(cacheDirectory, recipe, onProgress, whole)
    return [ensure(kernel), ensure(system), ensure(base), ensure(blank), ensure(empty)]
  }, signal)
  return toArtifacts(...made)
}

/** The base artefacts if all of them are in the cache; builds nothing. */
export const findArtifacts = async ({ cacheDirectory, debian }: Source): Promise<Artifacts | undefined> => {
  const [kernel, system, base, blank, empty] = await Promise.all(
    (await recipes(debian)).map((recipe) => findArtifact(cacheDirectory, recipe)),
  )
  return kernel === undefined ||
    system === undefined ||
    base === undefined ||
    blank === undefined ||
    empty === undefined
    ? undefined
    : toArtifacts(kernel, system, base, blank, empty)
}

const toArtifacts = (
  kernel: Artifact,
  system: Artifact,
  base: Artifact,
  blank: Artifact,
  empty: Artifact,
): Artifacts => ({
  kernel: join(kernel.directory, "vmlinuz"),
  kernelHash: kernel.hash,
  initramfs: join(kernel.directory, "initrd"),
  systemDisk: join(system.directory, "disk.raw"),
  rootDisk: join(base.directory, "disk.raw"),
  rootDiskHash: base.hash,
  blankDisk: join(blank.directory, "disk.raw"),
  blankDiskHash: blank.hash,
  emptyDrive: join(empty.directory, "drive.raw"),
})
