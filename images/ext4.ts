import { open } from "node:fs/promises"
import { runCommand } from "../src/command.ts"

/**
 * Makes a sparse ext4 file system of `sizeMiB` in a new file, with the content of `tree` (everything owned as it is there).
 * The same tree gives the same file: fixed uuid and hash seed. Inode tables and journal are left as they are: zeros need no blocks.
 * The journal is small, because what a guest writes to it is kept in every layer.
 */
export const makeExt4 = async (
  file: string,
  { tree, sizeMiB, label }: { tree: string; sizeMiB: number; label: string },
  signal: AbortSignal,
): Promise<void> => {
  const handle = await open(file, "wx")
  await handle.truncate(sizeMiB * 1024 * 1024)
  await handle.close()
  await runCommand(
    "mke2fs",
    [
      "-q",
      "-F",
      "-t",
      "ext4",
      "-m",
      "0",
      "-L",
      label,
      "-U",
      UUID,
      "-J",
      "size=16",
      "-E",
      `hash_seed=${UUID},lazy_itable_init=1,lazy_journal_init=1,nodiscard`,
      "-d",
      tree,
      file,
    ],
    { signal },
  )
}

const UUID = "746f7270-6f72-4000-8000-000000000001"
