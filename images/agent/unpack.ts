/** ADD's archives: what Docker unpacks of a build context, tar and nothing else, whatever it is compressed with. */
import { open } from "node:fs/promises"
import { run } from "./run.ts"

const COMPRESSED = ["1f8b", "425a68", "fd377a585a00", "28b52ffd"]
/** Where a tar says that it is one. */
const TAR = { at: 257, magic: "ustar" }

/** Whether ADD unpacks a file, as its first bytes say. */
export const isArchive = async (file: string): Promise<boolean> => {
  await using handle = await open(file)
  const { buffer } = await handle.read(Buffer.alloc(512), 0, 512, 0)
  if (buffer.toString("latin1", TAR.at, TAR.at + TAR.magic.length) === TAR.magic) return true
  const head = buffer.toString("hex", 0, 6)
  if (!COMPRESSED.some((magic) => head.startsWith(magic))) return false
  // A compressed file that is no archive is copied as it is.
  return run("bsdtar", ["-tqf", file, "*"]).then(
    () => true,
    () => false,
  )
}

/** Unpacks it there, inside of a root that is this directory. With an owner, all of it is theirs. */
export const unpackArchive = (
  file: string,
  directory: string,
  owner: { readonly uid: number; readonly gid: number } | null,
): Promise<string> =>
  run("bsdtar", [
    "-x",
    "-f",
    file,
    "-C",
    directory,
    "-P",
    "-p",
    "--chroot",
    "--numeric-owner",
    ...(owner === null ? [] : [`--uid=${owner.uid}`, `--gid=${owner.gid}`]),
  ])
