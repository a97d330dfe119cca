/** A function's zips, or its layers', as one directory: each is unpacked over those before it. */
import { chmod, mkdir } from "node:fs/promises"
import type { UnpackSpec } from "../../src/agent/protocol.ts"
import { pathOnDrive, unmountDrive } from "./drives.ts"
import { run } from "./run.ts"

/**
 * Unpacks them into a drive that is mounted, whose size bounds what a bomb can do, and unmounts it. The unpacker refuses paths and links
 * that leave. All of it is root's, with the modes that the zips say.
 */
export const unpackCode = async ({ from, count, into }: UnpackSpec): Promise<void> => {
  const target = pathOnDrive(into)
  await mkdir(target)
  for (let index = 0; index < count; index++)
    await run("bsdtar", [
      "-x",
      "-f",
      `${pathOnDrive(from)}/${index}`,
      "-C",
      target,
      "--no-same-owner",
      "--no-xattrs",
      "--no-acls",
      "--no-fflags",
      // What an earlier zip has there gives way, a link too: nothing is written through it.
      ...(index === 0 ? [] : ["-U"]),
    ])
  await chmod(target, 0o755)
  unmountDrive(into.drive)
}
