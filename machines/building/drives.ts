/** Files behind the further drives of a build's VM, each of the one virtual size that layout v1 has. */
import { randomUUID } from "node:crypto"
import { chmod, mkdir, open, rename, rm } from "node:fs/promises"
import { join } from "node:path"
import { DRIVE_MIB } from "../../images/drive-size.ts"
import { makeExt4 } from "../../images/ext4.ts"
import { linkOrCopy } from "../../src/link-or-copy.ts"
import type { Drive } from "../../src/vmm/vmm.ts"

const toDrive = (path: string): Drive => ({ chain: [{ path, format: "raw" }], readOnly: true })

/** Takes a file over as a drive that the guest reads as it is; behind its own bytes come zeros. */
export const toFileDrive = async (file: string, to: string): Promise<Drive> => {
  await rename(file, to)
  await chmod(to, 0o444)
  await using handle = await open(to, "a")
  await handle.truncate(DRIVE_MIB * 1024 ** 2)
  return toDrive(to)
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
  return toDrive(disk)
}
