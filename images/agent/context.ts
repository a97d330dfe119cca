/** The build context: the archive, unpacked on a scratch drive of its own, so that nothing of it gets into the image by itself. */
import { createReadStream, createWriteStream } from "node:fs"
import { mkdir, rm, writeFile } from "node:fs/promises"
import { pipeline } from "node:stream/promises"
import type { ContextSpec } from "../../src/agent/protocol.ts"
import { driveDevice, pathOnDrive } from "./drives.ts"
import { run } from "./run.ts"

/**
 * Unpacks the archive into a drive that is mounted, whose size bounds what a bomb can do; the unpacker refuses paths and links that leave.
 */
export const unpackContext = async ({ archiveDrive, archiveBytes, into, excluded }: ContextSpec): Promise<void> => {
  const context = pathOnDrive(into)
  await mkdir(context, { recursive: true })
  // A zip is found from its end, and the drive goes on behind it.
  const archive = `${context}.zip`
  await pipeline(
    createReadStream(driveDevice(archiveDrive), { end: archiveBytes - 1, highWaterMark: 1024 * 1024 }),
    createWriteStream(archive),
  )
  // A line each, from the context's root, every character as itself; but a line's end, which can only be any character.
  const patterns = excluded.map(
    (path) => `^${path.replaceAll(/[*?[\]\\$^]/g, String.raw`\$&`).replaceAll("\n", "?")}\n`,
  )
  await writeFile(`${context}.excluded`, patterns.join(""))
  await run("bsdtar", [
    "-x",
    "-f",
    archive,
    "--exclude-from",
    `${context}.excluded`,
    "-C",
    context,
    "--no-same-owner",
    "--no-xattrs",
    "--no-acls",
    "--no-fflags",
  ])
  await rm(archive)
}
