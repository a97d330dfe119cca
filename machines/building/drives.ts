/** Files behind the further drives of a build's VM, each of the one virtual size that layout v1 has. */
import { randomUUID } from "node:crypto"
import { chmod, chown, mkdir, open, rename, rm } from "node:fs/promises"
import { dirname, join } from "node:path"
import { DRIVE_MIB } from "../../images/drive-size.ts"
import { makeExt4 } from "../../images/ext4.ts"
import { runCommand } from "../../src/command.ts"
import { linkOrCopy } from "../../src/link-or-copy.ts"
import type { Drive } from "../../src/vmm/vmm.ts"

const rawDrive = (path: string, readOnly: boolean): Drive => ({ chain: [{ path, format: "raw" }], readOnly })

/** Takes a file over as a drive that the guest reads as it is; behind its own bytes come zeros. */
export const toFileDrive = async (file: string, to: string): Promise<Drive> => {
  await rename(file, to)
  await chmod(to, 0o444)
  await using handle = await open(to, "a")
  await handle.truncate(DRIVE_MIB * 1024 ** 2)
  return rawDrive(to, true)
}

/** A file system of our own making in which the files are named `0`, `1` …, in their order. What is in them is never looked at here. */
export const makeFilesDrive = async (
  files: readonly string[],
  directory: string,
  signal: AbortSignal,
): Promise<Drive> => {
  const tree = join(directory, `files-${randomUUID()}`)
  const disk = `${tree}.raw`
  await mkdir(tree)
  try {
    await Promise.all(files.map((file, index) => linkOrCopy(file, join(tree, String(index)))))
    await makeExt4(disk, { tree, sizeMiB: DRIVE_MIB, label: "files" }, signal)
  } finally {
    await rm(tree, { recursive: true, force: true })
  }
  await chmod(disk, 0o444)
  return rawDrive(disk, true)
}

export interface KeptDrive {
  readonly drive: Drive
  /** Puts it back for the next who asks; its VM is over. */
  giveBack(): Promise<void>
}

/**
 * What `RUN --mount=type=cache` keeps from build to build: a guest's file system in a file, that only guests of the same image mount.
 * Whoever takes it has it alone; who comes meanwhile has an empty one, and the last to give it back is kept.
 */
export const takeCaches = async (
  kept: string,
  own: string,
  blankDisk: string,
  signal: AbortSignal,
): Promise<KeptDrive> => {
  await rename(kept, own).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error
    await runCommand("cp", ["--reflink=auto", "--sparse=always", "--no-preserve=all", blankDisk, own], { signal })
  })
  return {
    drive: rawDrive(own, false),
    async giveBack() {
      await mkdir(dirname(kept), { recursive: true, mode: 0o700 })
      await chown(own, 0, 0)
      await rename(own, kept)
    },
  }
}
