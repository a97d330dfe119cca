/** File systems that this host makes for functions: what is unpacked into, and what `/tmp` stands on. */
import { chmod, mkdir, open, rm } from "node:fs/promises"
import { join } from "node:path"
import { DRIVE_MIB } from "../../../images/drive-size.ts"
import { runCommand } from "../../../src/command.ts"
import { FUNCTION_PLACES } from "./function-disks.ts"

/** What of a file system isn't for files: its inode tables, and what the kernel keeps back of ext4 for itself. */
const OVERHEAD = { share: 0.04, MiB: 4 }

/**
 * An ext4 file system of about `sizeMiB` in a new sparse file of a drive's size, without a journal: what stands on it is thrown away
 * with its VM, or read only.
 */
const makeFileSystem = async (
  file: string,
  { sizeMiB, bytesPerInode, tree }: { sizeMiB: number; bytesPerInode: number; tree?: string },
  signal: AbortSignal,
): Promise<void> => {
  const handle = await open(file, "wx", 0o600)
  await handle.truncate(DRIVE_MIB * 1024 ** 2)
  await handle.close()
  const features = ["-m", "0", "-O", "^has_journal,^resize_inode", "-E", "lazy_itable_init=1,nodiscard,root_owner=0:0"]
  const content = tree === undefined ? [] : ["-d", tree]
  const size = `${Math.floor(sizeMiB * 1024)}k`
  await runCommand(
    "mke2fs",
    ["-q", "-F", "-t", "ext4", ...features, "-i", String(bytesPerInode), ...content, file, size],
    {
      signal,
    },
  )
}

/** What zips are unpacked into: room for all that AWS allows them to be, in files as small as they come. */
export const makeCodeGround = (file: string, signal: AbortSignal): Promise<void> =>
  makeFileSystem(file, { sizeMiB: 1024, bytesPerInode: 8192 }, signal)

/** An empty `/tmp` for everybody to write to, of so much room for files; the largest that a drive holds lacks a fiftieth of it. */
export const makeTemporary = async (file: string, roomMiB: number, signal: AbortSignal): Promise<void> => {
  const tree = `${file}.tree`
  const temporary = join(tree, FUNCTION_PLACES.temporary)
  try {
    await mkdir(temporary, { recursive: true })
    await chmod(temporary, 0o1777)
    const sizeMiB = Math.min(roomMiB * (1 + OVERHEAD.share) + OVERHEAD.MiB, DRIVE_MIB)
    await makeFileSystem(file, { sizeMiB, bytesPerInode: 16_384, tree }, signal)
  } finally {
    await rm(tree, { recursive: true, force: true })
  }
}
