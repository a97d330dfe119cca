/** The build context: the archive, unpacked on a scratch drive of its own, so that nothing of it gets into the image by itself. */
import { createReadStream, createWriteStream } from "node:fs"
import { mkdir, writeFile } from "node:fs/promises"
import { pipeline } from "node:stream/promises"
import type { ContextSpec } from "../../src/agent/protocol.ts"
import { run } from "./run.ts"

const SCRATCH = "/tmp/build"
export const CONTEXT = `${SCRATCH}/context`
const EXCLUDED = `${SCRATCH}/excluded`
const ARCHIVE_DRIVE = "/dev/torpor/drive0"
const SCRATCH_DRIVE = "/dev/torpor/drive1"

/**
 * Unpacks the archive. The scratch file system's size bounds what a bomb can do; the unpacker refuses paths and links that leave.
 */
export const unpackContext = async ({ archiveBytes, maxMiB, excluded }: ContextSpec): Promise<void> => {
  await mkdir(SCRATCH, { recursive: true })
  await run("mke2fs", [
    "-q",
    "-F",
    "-t",
    "ext4",
    "-O",
    "^has_journal",
    "-E",
    "lazy_itable_init=1",
    SCRATCH_DRIVE,
    `${maxMiB}M`,
  ])
  await run("mount", ["-t", "ext4", "-o", "nodev,nosuid,noinit_itable", SCRATCH_DRIVE, SCRATCH])
  await mkdir(CONTEXT)
  // A zip is found from its end, and the drive goes on behind it.
  const archive = `${SCRATCH}/archive.zip`
  await pipeline(
    createReadStream(ARCHIVE_DRIVE, { end: archiveBytes - 1, highWaterMark: 1024 * 1024 }),
    createWriteStream(archive),
  )
  // A line each, from the context's root, every character as itself; but a line's end, which can only be any character.
  const patterns = excluded.map(
    (path) => `^${path.replaceAll(/[*?[\]\\$^]/g, String.raw`\$&`).replaceAll("\n", "?")}\n`,
  )
  await writeFile(EXCLUDED, patterns.join(""))
  await run("bsdtar", [
    "-x",
    "-f",
    archive,
    "--exclude-from",
    EXCLUDED,
    "-C",
    CONTEXT,
    "--no-same-owner",
    "--no-xattrs",
    "--no-acls",
    "--no-fflags",
  ])
}
